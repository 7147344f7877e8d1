"""What is installed: the three library folders, below one name of their own."""

from setuptools import find_packages, setup

FOLDERS = ("callbacks", "datamodules", "lightning_modules")
PACKAGES = [package for folder in FOLDERS for package in (folder, *(f"{folder}.{p}" for p in find_packages(folder)))]

setup(
    packages=[f"sparse_lightning.{package}" for package in PACKAGES],
    package_dir={f"sparse_lightning.{folder}": folder for folder in FOLDERS},
)
