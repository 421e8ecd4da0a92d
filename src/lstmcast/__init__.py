"""lstmcast: recurrent forecasters of quasi-periodic series, with gradients that can be checked."""

__version__ = "0.1.0"
