"""A series cut into amplitude bins, so that it is forecast by classification."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from lstmcast.data.batches import ChangedSampler, Sampler
from lstmcast.data.categories import Bins, one_hot_batch
from lstmcast.data.dataset import Dataset
from lstmcast.data.generators import NumericSection
from lstmcast.errors import InvalidError
from lstmcast.sections import Section, Seed

Source = Annotated[NumericSection, Field(discriminator="kind")]


class Quantized(Section):
    """Another generator's values, cut into bins; a network with ``output: categorical`` learns which comes next."""

    kind: Literal["quantized"]
    bins: int = Field(64, ge=2, le=4096, description="bins of equal width over the training part's range")
    source: Source = Field(description="the generator of the values: any other kind, with one column")

    def build(self, seed: Seed, future: int) -> Dataset:
        """Build the source and cut its range.

        Raises:
            InvalidError: if the source has several columns, or is constant.
        """
        dataset = self.source.build(seed, future)
        if len(dataset.columns) != 1:
            raise InvalidError(f"data.source: {len(dataset.columns)} columns; only one can be cut into bins")
        low, high = float(dataset.train.min()), float(dataset.train.max())
        if not low < high:
            raise InvalidError(f"data.source: the training part is constant ({low}); there is nothing to cut")
        bins = Bins(low, high, self.bins)

        def sampler(**settings: Any) -> Sampler:
            codes = dataset.sampler(rows=bins.encode(dataset.train), **settings)
            return ChangedSampler(codes, partial(one_hot_batch, classes=bins.classes))

        return replace(dataset, bins=bins, sampler=sampler)
