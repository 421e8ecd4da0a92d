"""Recurrent cells, derived by hand: one file a cell, forward and backward facing each other.

To add a cell, write its file and name it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from lstmcast.network.cells.base import Cell
from lstmcast.network.cells.gru import GRU
from lstmcast.network.cells.lstm import LSTM
from lstmcast.network.cells.lstm_peephole import LSTMPeephole
from lstmcast.network.cells.mgu import MGU
from lstmcast.network.cells.rnn import RNN

CELLS: dict[str, Cell] = {
    "lstm": LSTM(),
    "gru": GRU(),
    "rnn": RNN(),
    "lstm_peephole": LSTMPeephole(),
    "mgu": MGU(),
}

if TYPE_CHECKING:
    CellName: TypeAlias = str
else:
    CellName = Literal[tuple(CELLS)]
