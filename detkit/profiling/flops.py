"""Counting the operations of a forward pass, as PyTorch's dispatcher sees them.

Convention: a multiply-accumulate is two operations. Products (convolutions, matrices, attention) are what articles call
FLOPs; PyTorch's own formulas count them, dense and with padding. Element-wise work and norms are counted apart: an operation
for each element put out, or read where elements are reduced. Moving, creating and casting costs nothing. What has no formula
is named, so that no count is silently too low.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Flops:
    """Operations of one forward pass; they add up.

    Attributes:
        products: of convolutions, matrix products and attention, two for a multiply-accumulate.
        elementwise: of activations, sums, products of elements, softmax, pooling, interpolation.
        norms: an operation for each element put out.
        uncounted: names of operations that no formula covers.
    """

    products: int = 0
    elementwise: int = 0
    norms: int = 0
    uncounted: frozenset[str] = frozenset()

    def __add__(self, other: Flops) -> Flops:
        return Flops(
            self.products + other.products,
            self.elementwise + other.elementwise,
            self.norms + other.norms,
            self.uncounted | other.uncounted,
        )


def count_flops(module: nn.Module, *inputs: Any) -> Flops:
    """Return the operations of ``module(*inputs)``; on the meta device nothing is computed."""
    return total(flops_by_role(module, *inputs))


def total(roles: Mapping[str, Flops]) -> Flops:
    """Return the sum over all roles."""
    return reduce(add, roles.values(), Flops())


def flops_by_role(module: nn.Module, *inputs: Any) -> dict[str, Flops]:
    """Return the operations of ``module(*inputs)`` by the dotted name of the innermost submodule that ran them.

    ``""`` is the module itself. A submodule's own count leaves out what its children ran, so the sum is the total.
    """
    counter = _Counter()
    handles = []
    for name, child in module.named_modules():
        handles.append(child.register_forward_pre_hook(counter.enters(name)))
        handles.append(child.register_forward_hook(counter.leaves))
    try:
        with torch.no_grad(), counter:
            module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return dict(counter.found)


class _Counter(TorchDispatchMode):
    """Adds up the operations that reach it, by the submodule that is running."""

    def __init__(self) -> None:
        super().__init__()
        self.found: defaultdict[str, Flops] = defaultdict(Flops)
        self.running = [""]

    def enters(self, name: str) -> Callable[..., None]:
        """Return the hook that notes that the submodule ``name`` starts."""

        def hook(*_: Any) -> None:
            self.running.append(name)

        return hook

    def leaves(self, *_: Any) -> None:
        """Note that the latest submodule ends."""
        self.running.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.found[self.running[-1]] += flops_of(func, args, kwargs, out)
        return out


def flops_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Flops:
    """Return what one call of the operator ``func``, which returned ``out``, costs."""
    packet = func.overloadpacket
    name = str(packet).removeprefix("aten.")
    if name == "_scaled_dot_product_flash_attention_for_cpu":  # older PyTorch has no formula for it
        return Flops(products=_attended(*args[:3]))
    if packet in flop_registry:
        return Flops(products=int(flop_registry[packet](*args, **kwargs, out_val=out)))
    if name == PACKED:
        x, weight, groups, activation = args[0], args[1], args[6], args[7]
        products = 2 * _size(out) * (x.shape[1] // groups) * weight.shape[2:].numel()
        return Flops(products=products, elementwise=0 if activation == "none" else _size(out))
    if name in NORMS:
        return Flops(norms=_size(out))
    if name in WORK:
        return Flops(elementwise=WORK[name](args, out))
    if func.is_view or name in MOVES or not any(isinstance(leaf, Tensor) for leaf in tree_leaves((args, kwargs))):
        return Flops()
    if torch.Tag.pointwise in func.tags:
        return Flops(elementwise=_size(out))
    return Flops(uncounted=frozenset({name}))


def _attended(query: Tensor, key: Tensor, value: Tensor) -> int:
    """Each query (..., Q, D) with each key (..., K, D), and the sums of values (..., K, E)."""
    pairs = query.shape[:-1].numel() * key.shape[-2]
    return 2 * pairs * (query.shape[-1] + value.shape[-1])


def _size(values: Any) -> int:
    """Return the elements of the first tensor in ``values``."""
    return next((leaf.numel() for leaf in tree_leaves(values) if isinstance(leaf, Tensor)), 0)


def _read(args: Any, out: Any) -> int:
    """An operation for each element that is reduced."""
    return _size(args)


def _written(args: Any, out: Any) -> int:
    """An operation for each element put out."""
    return _size(out)


def _pooled(args: Any, out: Any) -> int:
    """An operation for each element of the window of every element put out."""
    window = args[1] if isinstance(args[1], list | tuple) else (args[1],)
    height, width = (window * 2)[:2]
    return _size(out) * height * width


def _interpolated(values: int) -> Callable[[Any, Any], int]:
    """An operation for each of the ``values`` that make one element."""
    return lambda args, out: values * _size(out)


def _bagged(args: Any, out: Any) -> int:
    """A multiply-accumulate for each value of the rows read: weights, indices, ..."""
    return 2 * args[1].numel() * args[0].shape[1]


NORM_NAMES = """native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training _batch_norm_with_update
    _batch_norm_no_update cudnn_batch_norm miopen_batch_norm native_layer_norm native_group_norm _fused_rms_norm"""
REDUCTIONS = """mean sum prod amax amin aminmax max min argmax argmin any all var var_mean std std_mean norm
    linalg_vector_norm logsumexp cumsum cumprod _softmax _log_softmax _safe_softmax _adaptive_avg_pool2d adaptive_max_pool2d"""
UNTAGGED = "hardswish hardswish_ log_sigmoid_forward glu"  # pointwise, though PyTorch doesn't say so
POOLS = "max_pool2d max_pool2d_with_indices avg_pool2d"
MOVE_NAMES = """clone copy _to_copy copy_ _unsafe_view _reshape_copy view_copy contiguous cat stack repeat constant_pad_nd
    reflection_pad2d replication_pad2d roll flip gather index index_select index_put index_put_ scatter select_scatter
    slice_scatter masked_select fill fill_ zero_ empty_like zeros_like ones_like full_like rand_like randn_like new_empty
    new_zeros new_ones new_full new_empty_strided triu tril upsample_nearest2d _upsample_nearest_exact2d pixel_shuffle
    pixel_unshuffle channel_shuffle im2col unfold_copy embedding one_hot _assert_async _local_scalar_dense
    mkldnn._reorder_convolution_weight"""
PACKED = "mkldnn._convolution_pointwise"  # a convolution and its activation

NORMS = frozenset(NORM_NAMES.split())
"""Operators that normalise."""
MOVES = frozenset(MOVE_NAMES.split())
"""Operators that compute nothing: they move, create or cast."""
WORK: Mapping[str, Callable[[Any, Any], int]] = MappingProxyType(
    dict.fromkeys(REDUCTIONS.split(), _read)
    | dict.fromkeys(UNTAGGED.split(), _written)
    | dict.fromkeys(POOLS.split(), _pooled)
    | dict.fromkeys(("upsample_bilinear2d", "grid_sampler_2d"), _interpolated(4))
    | {"upsample_bicubic2d": _interpolated(16)}
    | dict.fromkeys(("_embedding_bag", "_embedding_bag_forward_only"), _bagged)
)
"""Element-wise work beyond an operation for each element put out, by operator."""
