"""A step's compiled parts against torch in float32, which they are as close to as bfloat16 is."""

import contextlib
import copy
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from variants_under_test import tiny_batch, tiny_config

from dialog_service.models.affine import RowsLinear
from dialog_service.models.dropout import Dropout
from dialog_service.models.recurrence import CellKind, Parts, Recurrence, build_recurrence
from dialog_service.models.seq2seq import build_model
from train.kernels import MOST_NATS, Kernels, explain_kernels, find_kernels, hasten, kernels
from train.kernels.kernels import Losses, Operands, Reading, Walked, WalkGrads, route
from train.kernels.linear import CompiledAffine
from train.launch import launched
from train.learner import Learner
from train.objectives import reconstruction as loss_module
from train.objectives.objective import Step, TrainingPass
from train.objectives.reconstruction import blocked_cross_entropy
from train.ranks import Ranks
from train.variants import VARIANTS

needs_kernels = pytest.mark.skipif(find_kernels() is None, reason=explain_kernels())
CELLS: tuple[CellKind, ...] = ("lstm", "gru")
each_kind = pytest.mark.parametrize("kind", CELLS)
# Rows, steps, inputs, units: less than a tile, a group and a row more, whole tiles, wide ones.
SIZES = {
    "one": (1, 1, 1, 1),
    "few": (5, 4, 7, 9),
    "a row more": (33, 6, 40, 33),
    "whole": (64, 9, 64, 96),
    "wide": (40, 5, 300, 500),
}
each_size = pytest.mark.parametrize("size", SIZES.values(), ids=list(SIZES))
CLOSE = 0.01  # relative; two roundings to bfloat16 are .003 apart


def close(found: Tensor, wanted: Tensor) -> bool:
    return bool((found - wanted).norm() <= CLOSE * wanted.norm())


@pytest.fixture
def compiled() -> Kernels:
    found = find_kernels()
    assert found is not None
    return found


def layer_of(kind: CellKind, inputs: int, units: int) -> Recurrence:
    torch.manual_seed(7)
    layer = build_recurrence(kind, inputs, units)
    for bias in layer.parts[2:]:
        bias.data.normal_(std=0.3)
    return layer


def rows_of(size: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
    """Inputs that are no numbers at padding, and lengths, not in order."""
    rows, width, inputs, _ = size
    lengths = torch.randint(1, width + 1, (rows,))
    lengths[rows // 2] = width
    x = torch.randn(rows, width, inputs)
    x[torch.arange(width) >= lengths[:, None]] = math.nan
    return x, lengths


def detached(layer: Recurrence) -> Parts:
    return Parts(*(part.detach() for part in layer.parts))


def real(lengths: Tensor, width: int) -> Tensor:
    return torch.arange(width)[None] < lengths[:, None]


@needs_kernels
@each_kind
@each_size
@pytest.mark.parametrize(
    ("is_reversed", "has_last"),
    [(False, False), (False, True), (True, True)],
    ids=["all states", "the last", "the last backwards"],
)
def test_a_walk_is_the_layer_s(
    compiled: Kernels,
    kind: CellKind,
    size: tuple[int, int, int, int],
    is_reversed: bool,
    has_last: bool,
) -> None:
    _, width, inputs, units = size
    layer = layer_of(kind, inputs, units)
    x, lengths = rows_of(size)
    plain = x.nan_to_num().requires_grad_()
    if has_last:
        wanted = layer.last(plain, lengths, is_reversed=is_reversed)
    else:
        wanted = layer.sequence(plain, lengths).where(real(lengths, width)[..., None], 0.0)
    grad = torch.randn_like(wanted)
    wanted.backward(grad)
    reading = Reading(kind, route(lengths), is_reversed=is_reversed, has_last=has_last)
    walked = compiled.walk(reading, x, detached(layer))
    assert close(walked.hidden, wanted.detach())
    back = compiled.walk_back(reading, walked._replace(hidden=grad), width, detached(layer))
    assert plain.grad is not None
    assert close(back.inputs, plain.grad)
    assert (back.inputs[~real(lengths, width)] == 0).all()
    for found, part in zip(back.parts, layer.parts, strict=True):
        assert part.grad is not None
        assert found.shape == part.shape
        assert close(found, part.grad)


def both_ways(
    compiled: Kernels, layer: Recurrence, x: Tensor, lengths: Tensor
) -> tuple[Walked, WalkGrads]:
    reading = Reading(layer.kind, route(lengths))
    walked = compiled.walk(reading, x, detached(layer))
    grad = walked._replace(hidden=walked.hidden.sin())
    return walked, compiled.walk_back(reading, grad, x.shape[1], detached(layer))


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


@needs_kernels
@each_kind
@pytest.mark.parametrize("rows", [5, 64, 70, 130])
@pytest.mark.parametrize(("inputs", "units"), [(40, 48), (3, 5), (130, 160)])
def test_a_walk_s_bits_do_not_depend_on_threads(
    compiled: Kernels, kind: CellKind, rows: int, inputs: int, units: int
) -> None:
    """Whether each group has a thread, or all threads a group, or of units some and others none."""
    layer = layer_of(kind, inputs, units)
    x, lengths = rows_of((rows, 11, inputs, units))
    found = []
    for count in (1, 2, 3, 7):
        with threads(count):
            walked, back = both_ways(compiled, layer, x, lengths)
        found.append((walked.hidden, back.inputs, *back.parts))
    for other in found[1:]:
        assert all(torch.equal(one, same) for one, same in zip(found[0], other, strict=True))


@needs_kernels
@each_kind
def test_a_row_s_walk_does_not_depend_on_its_company(compiled: Kernels, kind: CellKind) -> None:
    layer = layer_of(kind, 20, 24)
    x, lengths = rows_of((70, 8, 20, 24))
    walked, back = both_ways(compiled, layer, x, lengths)
    for row in (0, 33, 69):
        one = slice(row, row + 1)
        alone, alone_back = both_ways(compiled, layer, x[one], lengths[one])
        assert torch.equal(alone.hidden, walked.hidden[one])
        assert torch.equal(alone_back.inputs, back.inputs[one])


def compared(rows: int, width: int, words: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features, weights, biases and targets."""
    torch.manual_seed(rows)
    features, weight, bias = (
        torch.randn(shape).requires_grad_() for shape in ((rows, width), (words, width), (words,))
    )
    weight.data *= 2 * width**-0.5
    return features, weight, bias, torch.randint(words, (rows,))


def losses_of(compiled: Kernels, parts: tuple[Tensor, ...]) -> Losses:
    return compiled.cross_entropy(Operands(*(part.detach() for part in parts)))


@needs_kernels
@pytest.mark.parametrize("rows", [1, 33, 1024, 1100, 2100])
@pytest.mark.parametrize(("width", "words"), [(3, 2), (32, 256), (40, 300), (128, 1031)])
def test_a_cross_entropy_is_the_library_s(
    compiled: Kernels, rows: int, width: int, words: int
) -> None:
    parts = compared(rows, width, words)
    features, weight, bias, targets = parts
    scores = functional.linear(features, weight, bias)
    nats = functional.cross_entropy(scores, targets, reduction="none")
    logs = scores.logsumexp(1).sum()
    wanted = torch.autograd.grad(logs, (features, weight, bias))
    found = losses_of(compiled, parts)
    assert (found.nats - nats).abs().max() < 0.2
    assert close(found.nats.sum(), nats.sum())
    assert close(found.target_scores, scores.gather(1, targets[:, None])[:, 0])
    for ours, theirs in zip(found[2:], wanted, strict=True):
        assert close(ours, theirs)


@needs_kernels
def test_the_scale_is_the_gradients_alone(compiled: Kernels) -> None:
    parts = Operands(*(part.detach() for part in compared(33, 40, 300)))
    plain, scaled = compiled.cross_entropy(parts), compiled.cross_entropy(parts, scale=0.25)
    assert torch.equal(plain.nats, scaled.nats)
    for one, quarter in zip(plain[2:], scaled[2:], strict=True):
        assert torch.equal(one / 4, quarter)  # a power of two rounds nothing


@needs_kernels
def test_no_rows_have_no_gradients(compiled: Kernels) -> None:
    found = losses_of(compiled, compared(0, 40, 300))
    assert len(found.nats) == 0
    assert not found.weight_grad.any()
    assert not found.bias_grad.any()


LINEAR_SIZES = {
    "one": (1, 1, 1),
    "few": (5, 7, 9),
    "a row more": (33, 40, 33),
    "whole": (64, 96, 32),
    "long": (1100, 256, 200),
}
each_linear_size = pytest.mark.parametrize("size", LINEAR_SIZES.values(), ids=list(LINEAR_SIZES))


def linear_of(size: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, weights and biases."""
    rows, inputs, outputs = size
    torch.manual_seed(rows)
    return torch.randn(rows, inputs), torch.randn(outputs, inputs), torch.randn(outputs)


@needs_kernels
@each_linear_size
def test_a_linear_layer_is_the_library_s(compiled: Kernels, size: tuple[int, int, int]) -> None:
    x, weight, bias = (part.requires_grad_() for part in linear_of(size))
    wanted = functional.linear(x, weight, bias)
    found = CompiledAffine(compiled)(x, weight, bias)
    assert close(found, wanted)
    grad = torch.randn_like(wanted)
    ours = torch.autograd.grad(found, (x, weight, bias), grad)
    theirs = torch.autograd.grad(wanted, (x, weight, bias), grad)
    assert all(close(one, other) for one, other in zip(ours, theirs, strict=True))


@needs_kernels
def test_a_linear_layer_s_rows_depend_neither_on_threads_nor_on_company(compiled: Kernels) -> None:
    x, weight, bias = linear_of((1100, 40, 50))
    grad = torch.randn(1100, 50)
    found = []
    for count in (1, 2, 3):
        with threads(count):
            found.append((compiled.linear(x, weight, bias), *compiled.linear_back(x, weight, grad)))
    for other in found[1:]:
        assert all(torch.equal(one, same) for one, same in zip(found[0], other, strict=True))
    one = slice(1050, 1051)
    assert torch.equal(compiled.linear(x[one], weight, bias), found[0][0][one])
    assert torch.equal(compiled.linear_back(x[one], weight, grad[one])[0], found[0][1][one])


@needs_kernels
def test_outside_autocast_a_hastened_layer_is_the_library_s(compiled: Kernels) -> None:
    layer, x = RowsLinear(40, 50), torch.randn(33, 40)
    assert hasten(layer)
    assert torch.equal(layer(x), functional.linear(x, layer.weight, layer.bias))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(x), compiled.linear(x, layer.weight, layer.bias))


@needs_kernels
def test_a_row_s_nats_depend_neither_on_threads_nor_on_company(compiled: Kernels) -> None:
    features, weight, bias, targets = compared(1100, 40, 300)
    found = []
    for count in (1, 2, 3):
        with threads(count):
            found.append(losses_of(compiled, (features, weight, bias, targets)).nats)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    alone = losses_of(compiled, (features[1050:1051], weight, bias, targets[1050:1051]))
    assert torch.equal(alone.nats, found[0][1050:1051])


@needs_kernels
def test_a_hopeless_target_is_left_to_torch(
    compiled: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above MOST_NATS the kernels' powers are cut off, and gradients would go to wrong words."""
    features, weight, bias, targets = compared(6, 8, 30)
    with torch.no_grad():
        features *= 200
    found = losses_of(compiled, (features, weight, bias, targets))
    assert found.nats.max() >= MOST_NATS
    scores = functional.linear(features, weight, bias)
    wanted = functional.cross_entropy(scores, targets, reduction="sum")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = blocked_cross_entropy(features, weight, bias, targets)
    assert close(ours.detach(), wanted.detach())
    (grad,) = torch.autograd.grad(ours, features)
    (theirs,) = torch.autograd.grad(wanted, features)
    assert (grad - theirs).norm() < 0.05 * theirs.norm()


@needs_kernels
def test_every_thread_s_words_are_in_the_gradients(compiled: Kernels) -> None:
    """Of threads that share the words out; but for the order of sums they are the same."""
    parts = compared(1100, 40, 1300)
    found = []
    for count in (1, 2, 3):
        with threads(count):
            found.append(losses_of(compiled, parts))
    for other in found[1:]:
        for one, same in zip(found[0][2:], other[2:], strict=True):
            torch.testing.assert_close(one, same, atol=1e-5, rtol=1e-3)
        assert torch.equal(found[0].bias_grad, other.bias_grad)  # a word has one thread


@needs_kernels
def test_what_the_kernels_would_misread_is_refused(compiled: Kernels) -> None:
    """They are given addresses: what is shorter than they think, they would read beyond."""
    features, weight, bias, targets = (part.detach() for part in compared(6, 8, 30))
    for wrong in (
        (features.bfloat16(), weight, bias, targets),
        (features, weight.double(), bias, targets),
        (features, weight, bias, targets.int()),
    ):
        with pytest.raises(TypeError, match="the kernels read torch"):
            compiled.cross_entropy(Operands(*wrong))
    for target in (-1, 30):
        with pytest.raises(IndexError, match="targets"):
            compiled.cross_entropy(Operands(features, weight, bias, torch.full((6,), target)))
    layer = layer_of("gru", 7, 9)
    x, lengths = rows_of((5, 4, 7, 9))
    for given, counted in ((x.bfloat16(), lengths), (x, lengths.int())):
        with pytest.raises(TypeError, match="the kernels read torch"):
            compiled.walk(Reading("gru", route(counted)), given, detached(layer))
    for length in (0, 5):
        with pytest.raises(IndexError, match="lengths"):
            compiled.walk(Reading("gru", route(lengths * 0 + length)), x, detached(layer))
    with pytest.raises(TypeError, match="the kernels read torch"):
        compiled.drop_out(x.double(), 64, seed=5)
    with pytest.raises(TypeError, match="the kernels read torch"):
        compiled.linear(features.bfloat16(), weight, bias)
    with pytest.raises(TypeError, match="the kernels read torch"):
        compiled.linear_back(features, weight, torch.ones(6, 30).double())


@needs_kernels
def test_shapes_that_do_not_fit_together_are_refused(compiled: Kernels) -> None:
    features, weight, bias, targets = (part.detach() for part in compared(6, 8, 30))
    for wrong in (features[:, :7], torch.ones(6, 9), torch.ones(8), torch.ones(2, 3, 8)):
        with pytest.raises(ValueError, match="shape"):
            compiled.linear(wrong, weight, bias)
        with pytest.raises(ValueError, match="shape"):
            compiled.linear_back(wrong, weight, torch.ones(len(wrong), 30))
        with pytest.raises(ValueError, match="shape"):
            compiled.cross_entropy(Operands(wrong, weight, bias, targets[: len(wrong)]))
    with pytest.raises(ValueError, match="shape"):
        compiled.linear(features, weight, bias[:29])
    with pytest.raises(ValueError, match="shape"):
        compiled.linear_back(features, weight, torch.ones(6, 29))
    for operands in ((features, weight, bias[:29], targets), (features, weight, bias, targets[:5])):
        with pytest.raises(ValueError, match="shape"):
            compiled.cross_entropy(Operands(*operands))


def test_weights_that_are_narrow_already_are_left_to_torch() -> None:
    *learnt, targets = compared(50, 40, 5000)
    features, weight, bias = (part.detach().bfloat16().requires_grad_() for part in learnt)
    found = blocked_cross_entropy(features, weight, bias, targets)
    scores = functional.linear(features.float(), weight.float(), bias.float())
    assert close(found.detach(), functional.cross_entropy(scores, targets, reduction="sum"))


@needs_kernels
@pytest.mark.parametrize("words", [2, 300])
def test_one_word_far_above_its_target_is_left_to_torch(words: int) -> None:
    """Its power is all of the row's sum, whose logarithm is hardly the limit itself."""
    features, bias = torch.ones(3, 4, requires_grad=True), torch.zeros(words)
    weight, targets = torch.zeros(words, 4), torch.zeros(3, dtype=torch.long)
    weight[1] = 100.0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = blocked_cross_entropy(features, weight, bias, targets)
    assert found.item() == pytest.approx(3 * 400)


@needs_kernels
@pytest.mark.parametrize("words", [2, 300])
def test_a_word_that_is_no_number_shows_in_the_loss(words: int) -> None:
    features, weight, bias, _ = compared(6, 8, words)
    bias.data[1] = math.nan
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = blocked_cross_entropy(features, weight, bias, torch.zeros(6, dtype=torch.long))
    assert math.isnan(found.item())


@needs_kernels
@pytest.mark.parametrize("count", [1, 15, 16, 64, 65, 100_003])
def test_dropout_leaves_out_its_share(compiled: Kernels, count: int) -> None:
    values = torch.rand(count) + 1
    kept = compiled.drop_out(values, 64, seed=5)
    torch.testing.assert_close(kept, torch.where(kept == 0, 0.0, values * 256 / 192))
    assert torch.equal(compiled.drop_out(values, 64, seed=5), kept)
    if count > 1000:
        # Four deviations of the mean of so many draws.
        assert abs(float((kept == 0).double().mean()) - 0.25) < 4 * (0.1875 / count) ** 0.5
        other = compiled.drop_out(values, 64, seed=6) == 0
        both = float(((kept == 0) & other).double().mean())
        assert abs(both - 0.0625) < 4 * (0.0586 / count) ** 0.5
        neighbours = float(((kept[1:] == 0) & (kept[:-1] == 0)).double().mean())
        assert abs(neighbours - 0.0625) < 4 * (0.0586 / count) ** 0.5


@needs_kernels
def test_dropout_s_gradient_goes_where_its_values_went() -> None:
    dropout = Dropout(0.3)
    hasten(dropout)
    values = (torch.rand(3, 5, 7) + 1).requires_grad_()
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        left = dropout(values)
        assert not torch.equal(left, dropout(values))
        torch.manual_seed(1)
        assert torch.equal(left, dropout(values))
        dropout.eval()
        assert dropout(values) is values
    left.sum().backward()
    torch.testing.assert_close(left, values * values.grad)
    assert torch.equal(values.grad == 0, left == 0)
    assert 0 < int((left == 0).sum()) < left.numel()


@needs_kernels
def test_a_gradient_s_gradient_is_refused() -> None:
    """Rather than left out without a word."""
    layer, dropout = layer_of("gru", 7, 9), Dropout(0.3)
    hasten(layer)
    hasten(dropout)
    x = torch.randn(5, 4, 7, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        last = layer.last(dropout(x), torch.tensor([4, 1, 2, 3, 4]))
    (grad,) = torch.autograd.grad(last.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.square().sum().backward()


@needs_kernels
def test_a_hastened_model_can_be_copied() -> None:
    config = tiny_config("wed_s")
    trained = TrainingPass(build_model(config.model), config.objective)
    names = trained.state_dict().keys()
    assert hasten(trained)
    copied = copy.deepcopy(trained)
    assert copied.state_dict().keys() == names
    for one, other in zip(trained.modules(), copied.modules(), strict=True):
        if isinstance(one, Recurrence):
            assert one.walk is not None
            assert one.walk == other.walk
        if isinstance(one, Dropout):
            assert one.drop is not None
            assert one.drop == other.drop
        if isinstance(one, RowsLinear):
            assert one.affine is not None
            assert one.affine == other.affine


def gradients(variant: str, *, is_compiled: bool, is_narrow: bool) -> dict[str, Tensor]:
    config = tiny_config(variant)
    torch.manual_seed(3)
    trained = TrainingPass(build_model(config.model), config.objective)
    if is_compiled:
        assert hasten(trained)
    torch.manual_seed(4)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_narrow):
        losses = trained(tiny_batch(40), Step(progress=0.95))
    losses.total.backward()
    assert torch.isfinite(losses.total)
    named = trained.named_parameters()
    return {name: part.grad for name, part in named if part.grad is not None}


@needs_kernels
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_whole_step_s_gradient_is_that_in_float32(variant: str) -> None:
    """As near as torch's own bfloat16 is."""
    exact = gradients(variant, is_compiled=False, is_narrow=False)
    narrow = gradients(variant, is_compiled=True, is_narrow=True)
    assert exact.keys() == narrow.keys()
    flat, other = (torch.cat([part.flatten() for part in one.values()]) for one in (exact, narrow))
    assert not torch.equal(flat, other)
    assert functional.cosine_similarity(flat, other, dim=0) > 0.9995
    for name, part in exact.items():
        assert functional.cosine_similarity(part.flatten(), narrow[name].flatten(), dim=0) > 0.98


@pytest.mark.parametrize("has_kernels", [False, True])
def test_a_learner_says_what_multiplies(
    make_tiny, monkeypatch: pytest.MonkeyPatch, has_kernels: bool
) -> None:
    if has_kernels and find_kernels() is None:
        pytest.skip(explain_kernels())
    if not has_kernels:
        monkeypatch.setattr("train.kernels.find_kernels", lambda: None)
    config = make_tiny().config
    narrow = Learner(config, Ranks(launched("cpu", "bf16")))
    assert ("compiled for AMX" in narrow.numerics) == has_kernels
    wide = Learner(config, Ranks(launched("cpu", "fp32")))
    assert "compiled" not in wide.numerics


def test_without_kernels_bfloat16_is_torch_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_module, "find_kernels", lambda: None)
    *learnt, targets = compared(1100, 40, 300)
    wanted = functional.cross_entropy(functional.linear(*learnt), targets, reduction="sum")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = blocked_cross_entropy(*learnt, targets)
    assert close(found.detach(), wanted.detach())
    for ours, theirs in zip(
        torch.autograd.grad(found, learnt), torch.autograd.grad(wanted, learnt), strict=True
    ):
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert kernels._look_for_kernels.__wrapped__() == "kernels need AMX"
