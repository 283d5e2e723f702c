"""One battery over every variant: a new row in ``variants.py`` is tested by being there."""

from pathlib import Path

import pytest
import torch
from variants_under_test import padded, tiny_batch, tiny_config

from dialog_service.checkpoint import (
    Checkpoint,
    CheckpointMeta,
    load_checkpoint,
    save_checkpoint,
)
from dialog_service.engine import Engine
from dialog_service.generation import GenerationRequest, Generator, SamplingParameters
from dialog_service.models.seq2seq import LatentSeq2Seq, build_model
from dialog_service.vocabulary import EOS, Vocabulary
from train.objectives.objective import Step, TrainingPass
from train.variants import VARIANTS

pytestmark = pytest.mark.parametrize("variant", VARIANTS)


def built(variant: str) -> LatentSeq2Seq:
    torch.manual_seed(3)
    return build_model(tiny_config(variant).model)


def training_pass(variant: str) -> TrainingPass:
    return TrainingPass(built(variant), tiny_config(variant).objective)


def checkpoint(variant: str) -> Checkpoint:
    texts = [f"word{a} word{b} ." for a in range(9) for b in range(9)]
    vocabulary = Vocabulary.fit(texts, size=40, mode="unigram")
    config = tiny_config(variant)
    model = config.model.model_copy(update={"vocab_size": len(vocabulary)})
    torch.manual_seed(3)
    return Checkpoint(
        model=build_model(model).eval(),
        vocabulary=vocabulary,
        sampling=config.sampling,
        meta=CheckpointMeta(
            variant=variant, preset="tiny", corpus="c", seed=0, commit="", data_fingerprint=""
        ),
    )


def request(text: str, seed: int, count: int = 4) -> GenerationRequest:
    sampling = SamplingParameters(temperature=1.0, top_p=0.95, max_tokens=8)
    return GenerationRequest(turns=(text,), reply_count=count, sampling=sampling, seed=seed)


def test_output_has_the_documented_shapes(variant: str) -> None:
    batch, model = tiny_batch(), built(variant)
    output = model(batch)
    latent = (5, model.config.latent_dim)
    assert output.z.shape == latent
    assert output.posterior.loc.shape == output.posterior.scale.shape == latent
    assert model.reply_belief(output.inference.context).loc.shape == latent
    assert model.decoder.logits(output.features).shape == (batch.target_lengths.sum(), 40)


def test_loss_is_finite_and_every_parameter_gets_a_gradient(variant: str) -> None:
    trained = training_pass(variant)
    losses = trained(tiny_batch(), Step(progress=1.0))
    losses.total.backward()
    assert torch.isfinite(losses.total)
    without = [
        name
        for name, parameter in trained.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert without == []


def test_loss_falls_on_one_batch(variant: str) -> None:
    trained, batch = training_pass(variant), tiny_batch()
    optimiser = torch.optim.Adam(trained.parameters(), lr=1e-2)
    nats = []
    for _ in range(60):
        losses = trained(batch, Step(progress=0.0))
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()
        nats.append(losses.reconstruction.item())
    assert nats[-1] < nats[0] / 2


def test_further_padding_changes_no_loss(variant: str) -> None:
    trained, batch = training_pass(variant).eval(), tiny_batch()
    wide = batch._replace(
        context=torch.nn.functional.pad(batch.context, (0, 3)),
        inputs=torch.nn.functional.pad(batch.inputs, (0, 2)),
        targets=torch.nn.functional.pad(batch.targets, (0, 2)),
    )
    torch.manual_seed(1)
    narrow_loss = trained(batch, Step(progress=1.0))
    torch.manual_seed(1)
    wide_loss = trained(wide, Step(progress=1.0))
    torch.testing.assert_close(wide_loss.total, narrow_loss.total)


def test_stepwise_decoding_equals_teacher_forcing(variant: str) -> None:
    batch, model = tiny_batch(), built(variant).eval()
    context = model.infer(batch).context
    z = torch.randn(5, model.config.latent_dim)
    taught = model.decoder.logits(padded(model.features(batch, z, context), batch))
    signal = model.bridge(z, model.bridge.share(context))
    state = model.decoder.start(signal)
    for step in range(8):
        next_word = model.decoder.step if step else model.decoder.first_step
        scores, state = next_word(batch.inputs[:, step], signal, state)
        real = batch.target_lengths > step
        torch.testing.assert_close(scores[real], taught[real, step], atol=1e-5, rtol=1e-4)


def test_the_engine_computes_what_the_model_does(variant: str) -> None:
    batch, model = tiny_batch(), built(variant).eval()
    engine = Engine(model, precision="fp32", device=torch.device("cpu"))
    context = model.infer(batch).context
    contexts = [
        ids[:length].tolist()
        for ids, length in zip(batch.context, batch.context_lengths, strict=True)
    ]
    for found, wanted in zip(engine.codes(contexts), model.reply_codes(context), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    z, share = torch.randn(5, model.config.latent_dim), model.bridge.share(context)
    signal = model.bridge(z, share)
    torch.testing.assert_close(engine.signals(z, share), signal)
    state, (steady, packed_state) = model.decoder.start(signal), engine.start(signal)
    for step in range(4):
        words = batch.inputs[:, step]
        next_word = model.decoder.step if step else model.decoder.first_step
        scores, state = next_word(words, signal, state)
        packed_state = engine.advance(words, steady, packed_state) if step else packed_state
        found = engine.scores(packed_state)
        torch.testing.assert_close(found[:, EOS:], scores[:, EOS:], atol=1e-5, rtol=1e-4)
        assert (found[:, :EOS] == -torch.inf).all()


def test_a_saved_model_replies_the_same(variant: str, tmp_path: Path) -> None:
    made = checkpoint(variant)
    save_checkpoint(made, tmp_path / "saved")
    before = Generator(made, precision="fp32").generate([request("word1 word2 .", 5)])
    loaded = Generator(load_checkpoint(tmp_path / "saved"), precision="fp32")
    assert loaded.generate([request("word1 word2 .", 5)]) == before


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_neither_padding_nor_batch_mates_change_a_reply(variant: str, precision: str) -> None:
    generator = Generator(checkpoint(variant), precision=precision)
    requests = [request(" ".join(["word1"] * (1 + i % 7)), i, 1 + i % 9) for i in range(40)]
    together = generator.generate(requests)
    assert together == [generator.generate([alone])[0] for alone in requests]
    assert together == generator.generate(requests[::-1])[::-1]


def test_seeded_draws_repeat_and_other_seeds_differ(variant: str) -> None:
    generator = Generator(checkpoint(variant), precision="fp32")
    first, again, other = (
        generator.generate([request("word3 .", seed, 8)])[0] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_fewer_replies_are_the_first_of_more(variant: str) -> None:
    generator = Generator(checkpoint(variant), precision="fp32")
    ten, five = (generator.generate([request("word3 .", 9, count)])[0] for count in (10, 5))
    assert ten is not None
    assert five is not None
    assert len(five.candidates) == 5
    assert five.candidates == ten.candidates[:5]
