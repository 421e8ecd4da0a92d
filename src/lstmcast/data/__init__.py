"""Data: what a network is trained on and measured by.

A generator is one file: a config section with a ``build`` method that returns a `Dataset`. Those of values are named in
``generators.py``.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lstmcast.data.generators import NumericSection
from lstmcast.data.quantized import Quantized
from lstmcast.data.text import Text

DataSection = Annotated[NumericSection | Text | Quantized, Field(discriminator="kind")]
