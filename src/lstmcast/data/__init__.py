"""Data: what a network is trained on and measured by.

A generator is one file: a config section with a ``build`` method that returns a `Dataset`.
To add one, write the file and add its class to `DataSection`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lstmcast.data.quantized import Quantized
from lstmcast.data.random_segments import RandomSegments
from lstmcast.data.series import Series
from lstmcast.data.sine_bank import SineBank
from lstmcast.data.text import Text
from lstmcast.data.windowed_sine import WindowedSine

DataSection = Annotated[
    WindowedSine | SineBank | RandomSegments | Series | Text | Quantized, Field(discriminator="kind")
]
