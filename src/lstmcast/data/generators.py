"""The generators of values, one file each: to add one, write its file and name its section here."""

from __future__ import annotations

from typing import TypeAlias

from lstmcast.data.random_segments import RandomSegments
from lstmcast.data.series import Series
from lstmcast.data.sine_bank import SineBank
from lstmcast.data.windowed_sine import WindowedSine

NumericSection: TypeAlias = WindowedSine | SineBank | RandomSegments | Series
