"""Which packages are built; everything else is in setup.cfg, which cannot say the following.

Recipes are in the folder configs/ at the top, since a recipe is what users of the repository read
and copy first. An installed package has them in tfshed/recipes/, where `tfshed recipes` and
`--config=NAME` look first (tfshed/experiments/recipe_files.py). They are put there as packages of
another folder: so they are uninstalled with tfshed, and an editable install reads configs/ itself.
With data files, which go to share/, neither holds; a symbolic link in the repository would be a
text file on Windows.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["tfshed", "tfshed.*"]),
        "tfshed.recipes",
        "tfshed.recipes.grids",
    ],
    package_dir={"tfshed.recipes": "configs", "tfshed.recipes.grids": "configs/grids"},
    package_data={"tfshed": ["py.typed"]},
)
