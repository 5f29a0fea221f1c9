"""The validate stage: a row of the sheet becomes a patch, or all that is wrong with it."""

from batch.validate.validator import Validator

__all__ = ["Validator"]
