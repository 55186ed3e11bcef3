# Sourced by the scripts: makes a virtual environment once and puts it first on PATH.
#
#   tfshed_env [EXTRAS]    EXTRAS: nothing, or extras from setup.cfg such as `test`
#
# The environment is in the folder .venv beside setup.cfg, or in $TFSHED_VENV if this is set.
# It is updated whenever setup.cfg, setup.py or pyproject.toml changes.

TFSHED_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# Users of these scripts cannot act on the messages of TensorFlow's C++ code, except for errors.
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"

# Finds the first Python from 3.10 to 3.13 that really runs. Version managers put stubs on PATH that
# exist but do not run, and some distributions leave out venv.
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
  want="$(cat "$TFSHED_ROOT"/setup.{cfg,py} "$TFSHED_ROOT/pyproject.toml" | cksum)"
  # The first line of the stamp is the hash, the second lists the extras that are installed. More
  # extras than needed do no harm.
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
    echo "tfshed: the installation failed for the reason above. Fix it and run this again." >&2
    return 1
  }
  printf '%s\nbase %s\n' "$want" "$extras" >"$stamp"
}

tfshed_env() {
  local extras="${1:-}" venv="${TFSHED_VENV:-$TFSHED_ROOT/.venv}"
  mkdir -p "$venv" || return 1
  # Two scripts that run at the same time must not install into the same folder at once.
  if command -v flock >/dev/null 2>&1; then
    (flock 9 && _tfshed_sync "$venv" "$extras") 9>"$venv/.tfshed-lock" || return 1
  else
    _tfshed_sync "$venv" "$extras" || return 1
  fi
  venv="$(cd "$venv" && pwd)"
  export VIRTUAL_ENV="$venv" PATH="$venv/bin:$PATH"
  unset PYTHONHOME
}
