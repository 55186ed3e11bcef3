# Sourced by the scripts: makes the environment once, then puts it first on PATH.
#
#   tfshed_env [EXTRAS]    EXTRAS: nothing, or names from setup.cfg such as `test`
#
# TFSHED_VENV names another folder than .venv beside setup.cfg.
# The environment is brought up to date whenever setup.cfg or pyproject.toml changes.

TFSHED_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# TensorFlow's C++ log, errors aside, says nothing that a user of these scripts can act on.
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"

# The first Python from 3.10 to 3.13 that really runs: version managers put stubs on PATH that
# exist but refuse, and some distributions leave out venv.
_tfshed_python() {
  local name
  for name in python3 python3.13 python3.12 python3.11 python3.10; do
    if "$name" -c 'import sys, venv, ensurepip
sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then
      command -v "$name"
      return
    fi
  done
  echo "tfshed: expected a Python from 3.10 to 3.13 with the venv module on PATH, found none." \
    "Install one (on Debian and Ubuntu: python3 and python3-venv) and run this again." >&2
  return 1
}

_tfshed_sync() {
  local venv="$1" extras="$2" stamp="$1/.tfshed-stamp" want python
  want="$(cat "$TFSHED_ROOT/setup.cfg" "$TFSHED_ROOT/pyproject.toml" | cksum)"
  # The stamp's first line is the hash, its second the extras; more than asked for is enough too.
  if [ -f "$stamp" ] && [ "$(sed -n 1p "$stamp")" = "$want" ]; then
    case " $(sed -n 2p "$stamp") " in *" ${extras:-base} "*) return 0 ;; esac
  fi
  if [ ! -x "$venv/bin/python" ]; then
    python="$(_tfshed_python)" || return 1
    echo "tfshed: making $venv with $("$python" --version)"
    "$python" -m venv "$venv" || return 1
  fi
  echo "tfshed: installing into $venv (the first time downloads about 1 GB)"
  "$venv/bin/python" -m pip install --disable-pip-version-check \
    -e "$TFSHED_ROOT${extras:+[$extras]}" || {
    echo "tfshed: the installation failed; the lines above say why. Mend it and run this again." >&2
    return 1
  }
  printf '%s\nbase %s\n' "$want" "$extras" >"$stamp"
}

tfshed_env() {
  local extras="${1:-}" venv="${TFSHED_VENV:-$TFSHED_ROOT/.venv}"
  mkdir -p "$venv" || return 1
  # Two scripts started at once must not install into one folder together.
  if command -v flock >/dev/null 2>&1; then
    (flock 9 && _tfshed_sync "$venv" "$extras") 9>"$venv/.tfshed-lock" || return 1
  else
    _tfshed_sync "$venv" "$extras" || return 1
  fi
  venv="$(cd "$venv" && pwd)"
  export VIRTUAL_ENV="$venv" PATH="$venv/bin:$PATH"
  unset PYTHONHOME
}
