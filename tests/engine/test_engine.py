"""The engine against the plain model, and its promise that company changes no bit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from plain_decoding import plain_reply

import dialog_service
from dialog_service.checkpoint import load_checkpoint
from dialog_service.engine import Decoded, Decoding, Draws, Engine
from dialog_service.engine.rows import RowShape
from dialog_service.generation import GenerationRequest, Generator, context_ids
from dialog_service.models.config import (
    GaussianPosterior,
    GruDecoder,
    GruEncoder,
    LstmDecoder,
    LstmEncoder,
    ModelConfig,
    StandardNormalPrior,
)
from dialog_service.models.search import TokenRule
from dialog_service.models.seq2seq import LatentSeq2Seq, build_model
from dialog_service.replies import SamplingParameters
from dialog_service.text import detokenise, normalise
from dialog_service.vocabulary import EOS

PACKAGED = Path(dialog_service.__file__).parent / "checkpoints" / "default"
POSTS = ("How was your weekend?", "I lost my wallet.", "What would you like to have for dinner?")
Z, ROWS, LIMIT, V = 128, 70, 6, 6000
CPU = torch.device("cpu")
PRECISIONS = ["fp32", "bf16", "int8", "int8 by torch"]


@pytest.fixture(scope="module", params=["lstm", "gru"])
def model(request: pytest.FixtureRequest) -> LatentSeq2Seq:
    torch.manual_seed(0)
    is_lstm = request.param == "lstm"
    return build_model(
        ModelConfig(
            vocab_size=V,
            embedding_dim=256,
            max_context_tokens=40,
            max_response_tokens=30,
            encoder=LstmEncoder(hidden_size=256) if is_lstm else GruEncoder(hidden_size=256),
            posterior=GaussianPosterior(latent_dim=Z),
            prior=StandardNormalPrior(),
            decoder=LstmDecoder(hidden_size=512, tied_output=True)
            if is_lstm
            else GruDecoder(hidden_size=512, projection_size=256),
        )
    ).eval()


@pytest.fixture
def precision(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One to ask for, where it is by torch with no kernels to be found."""
    name, _, by = request.param.partition(" by ")
    if by:
        monkeypatch.setattr("dialog_service.engine.engine.find_kernels", lambda: None)
    return str(name)


@pytest.fixture(autouse=True)
def few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seventy draws are several chunks in every precision."""
    monkeypatch.setattr("dialog_service.engine.rows._INT8_SCORES", 16 * V)
    monkeypatch.setattr("dialog_service.engine.rows._WIDE", RowShape(16, 32, 16))


def forget_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows from a word is a product each time."""
    for name in ("_ENCODER_TABLE_BYTES", "_DECODER_TABLE_BYTES"):
        monkeypatch.setattr(f"dialog_service.engine.engine.{name}", 1000)


def some_draws(rows: list[int]) -> Draws:
    """Rows of seventy draws of every kind."""
    each = torch.tensor(rows)
    return Draws(
        request=each // 3,
        number=each % 3,
        seed=each // 3,
        limit=1 + each % LIMIT,
        rule=TokenRule(
            temperature=each % 4 / 2,
            top_k=each % 5 * 30,
            top_p=(1 - each % 3 / 10).double(),
        ),
        signal=torch.randn(ROWS, Z, generator=torch.Generator().manual_seed(1))[each],
    )


def finished(decoding: Decoding) -> list[Decoded]:
    """All that is under way, decoded to its end."""
    found = []
    while decoding.live_rows:
        found += decoding.step()
    return found


def in_order(sequences: list[Decoded]) -> list[Decoded]:
    return sorted(sequences, key=lambda each: (each.request, each.number))


@torch.inference_mode()
@pytest.mark.parametrize("precision", PRECISIONS, indirect=True)
def test_neither_company_nor_place_changes_a_bit(model: LatentSeq2Seq, precision: str) -> None:
    engine = Engine(model, precision=precision, device=CPU)

    def decoded(rows: list[int]) -> list[Decoded]:
        decoding = Decoding(engine, LIMIT)
        decoding.join(some_draws(rows))
        return in_order(finished(decoding))

    together = decoded(list(range(ROWS)))
    assert decoded(list(range(ROWS))[::-1]) == together
    for row in (0, 1, 31, 32, 69):
        assert decoded([row]) == [together[row]]


@torch.inference_mode()
@pytest.mark.parametrize("precision", PRECISIONS, indirect=True)
def test_without_a_table_company_changes_no_bit_either(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_tables(monkeypatch)
    torch.manual_seed(1)
    config = ModelConfig(
        vocab_size=300,
        embedding_dim=512,
        max_context_tokens=40,
        max_response_tokens=30,
        encoder=LstmEncoder(hidden_size=64),
        posterior=GaussianPosterior(latent_dim=Z),
        prior=StandardNormalPrior(),
        decoder=LstmDecoder(hidden_size=500),
    )
    engine = Engine(build_model(config).eval(), precision=precision, device=CPU)
    words = torch.randint(4, 300, (320,), generator=torch.Generator().manual_seed(2))
    share = torch.zeros(320, 2000)
    state = tuple(torch.randn(320, 500) for _ in range(2))
    together = engine.advance(words, share, state)
    for rows in (32, 64, 96, 256):
        found = engine.advance(words[:rows], share[:rows], tuple(part[:rows] for part in state))
        assert all(
            torch.equal(*pair) for pair in zip(found, (p[:rows] for p in together), strict=True)
        )


@torch.inference_mode()
@pytest.mark.parametrize("precision", PRECISIONS, indirect=True)
def test_joining_on_the_way_changes_no_bit(model: LatentSeq2Seq, precision: str) -> None:
    engine = Engine(model, precision=precision, device=CPU)
    decoding = Decoding(engine, LIMIT)
    decoding.join(some_draws(list(range(ROWS))))
    together = in_order(finished(decoding))
    found = []
    for first in range(0, ROWS, 20):
        decoding.join(some_draws(list(range(first, min(first + 20, ROWS)))))
        found += decoding.step()
    assert in_order(found + finished(decoding)) == together


@torch.inference_mode()
@pytest.mark.parametrize("precision", PRECISIONS, indirect=True)
def test_neither_company_nor_place_changes_a_code(model: LatentSeq2Seq, precision: str) -> None:
    engine = Engine(model, precision=precision, device=CPU)
    random = torch.Generator().manual_seed(2)
    contexts = [
        torch.randint(4, V, (1 + place % 23,), generator=random).tolist() for place in range(40)
    ]
    together = engine.codes(contexts)
    for place in (0, 7, 31, 32, 39):
        for one, other in zip(engine.codes([contexts[place]]), together, strict=True):
            assert torch.equal(one[0], other[place])


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParameters(temperature=0.0, max_tokens=20),
        SamplingParameters(temperature=0.0, latent_scale=0.0, max_tokens=20),
        SamplingParameters(temperature=1.0, max_tokens=20),
        SamplingParameters(temperature=0.7, top_p=0.9, max_tokens=20),
    ],
    ids=["greedy", "greedy at the mean", "sampled", "nucleus"],
)
def test_the_engine_says_what_the_plain_model_says(sampling: SamplingParameters) -> None:
    checkpoint = load_checkpoint(PACKAGED)
    vocabulary, plain = checkpoint.vocabulary, load_checkpoint(PACKAGED).model.eval()
    generator = Generator(checkpoint, device="cpu", precision="fp32")
    requests = [
        GenerationRequest(turns=(post,), reply_count=6, sampling=sampling, seed=seed)
        for seed, post in enumerate(POSTS)
    ]
    for asked, result in zip(requests, generator.generate(requests), strict=True):
        assert result is not None
        context = context_ids([vocabulary.encode(normalise(asked.turns[0]))], plain.config)
        drawn = [
            plain_reply(plain, context, sampling, seed=asked.seed, draw=draw)
            for draw in range(result.draws)
        ]
        texts = [detokenise(vocabulary.decode([i for i in ids if i != EOS])) for ids in drawn]
        wanted = [text for text in dict.fromkeys(texts) if text][:6]
        assert [candidate.text for candidate in result.candidates] == wanted


@torch.inference_mode()
@pytest.mark.parametrize("precision", PRECISIONS[1:], indirect=True)
def test_fewer_bits_keep_the_distribution(precision: str) -> None:
    """Along replies of the packaged model: divergence of its next-word distributions."""
    plain = load_checkpoint(PACKAGED)
    exact, rough = (
        Engine(plain.model.eval(), precision=name, device=CPU) for name in ("fp32", precision)
    )
    contexts = [plain.vocabulary.encode(normalise(post)) for post in POSTS]
    codes = exact.codes(contexts)
    rough_codes = rough.codes(contexts)
    assert float((rough_codes.loc - codes.loc).square().mean() / codes.loc.var()) < 0.01
    signal = exact.signals(codes.loc, codes.share)
    share, state = exact.start(signal)
    rough_share, rough_state = rough.start(signal)
    divergence = []
    for _ in range(12):
        scores, rough_scores = (
            engine.scores(each) for engine, each in ((exact, state), (rough, rough_state))
        )
        logs, rough_logs = scores[:, EOS:].log_softmax(1), rough_scores[:, EOS:].log_softmax(1)
        divergence.append((logs.exp() * (logs - rough_logs)).sum(1))
        words = scores.argmax(1)
        state = exact.advance(words, share, state)
        rough_state = rough.advance(words, rough_share, rough_state)
    assert float(torch.stack(divergence).mean()) < 0.01  # nats a word, of about 4


def test_a_table_too_large_is_a_product_each_time(
    model: LatentSeq2Seq, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Engine(model, precision="fp32", device=CPU)
    forget_tables(monkeypatch)
    small = Engine(model, precision="fp32", device=CPU)
    found = []
    for engine in (whole, small):
        decoding = Decoding(engine, LIMIT)
        decoding.join(some_draws(list(range(20))))
        found.append(in_order(finished(decoding)))
    assert [each.ids for each in found[0]] == [each.ids for each in found[1]]


def test_a_request_that_goes_takes_its_rows_along(model: LatentSeq2Seq) -> None:
    decoding = Decoding(Engine(model, precision="fp32", device=CPU), LIMIT)
    draws = some_draws(list(range(30)))
    decoding.join(replace(draws, limit=torch.full((30,), LIMIT)))
    before = decoding.live_rows
    decoding.drop(lambda request: request == 4)
    assert decoding.live_rows == before - 3
    assert 4 not in {each.request for each in finished(decoding)}
