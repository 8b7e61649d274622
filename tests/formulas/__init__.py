"""Every objective beside its formula, one file for each; whoever adds an objective adds a file with its CASES."""

from importlib import import_module
from pkgutil import iter_modules

from formulas.formula import Case

MODULES = [import_module(f"formulas.{module.name}") for module in iter_modules(__path__)]
CASES: list[Case] = [case for module in MODULES for case in vars(module).get("CASES", ())]
NAMES = [case.name for case in CASES]
