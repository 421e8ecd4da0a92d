"""Recurrent cells, derived by hand: one file a cell, forward and backward facing each other.

To add a cell, write its file and name it here.
"""

from __future__ import annotations

from typing import Literal

from lstmcast.network.cells.base import Cell
from lstmcast.network.cells.gru import GRU
from lstmcast.network.cells.lstm import LSTM
from lstmcast.network.cells.rnn import RNN

CellName = Literal["lstm", "gru", "rnn"]

CELLS: dict[CellName, Cell] = {"lstm": LSTM(), "gru": GRU(), "rnn": RNN()}
