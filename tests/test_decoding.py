"""Decoding at the size that is served: products large enough for a library to choose its way."""

import pytest
import torch

from dialog_service.decoding import Decoding, Draws
from dialog_service.models.config import (
    GaussianPosterior,
    LstmDecoder,
    LstmEncoder,
    ModelConfig,
    StandardNormalPrior,
)
from dialog_service.models.recurrence import Recurrence
from dialog_service.models.search import TokenRule
from dialog_service.models.seq2seq import LatentSeq2Seq, build_model

Z, ROWS, LIMIT = 128, 70, 4


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def model(request: pytest.FixtureRequest) -> LatentSeq2Seq:
    torch.manual_seed(0)
    made = build_model(
        ModelConfig(
            vocab_size=6000,
            embedding_dim=256,
            max_context_tokens=40,
            max_response_tokens=30,
            encoder=LstmEncoder(hidden_size=256),
            posterior=GaussianPosterior(latent_dim=Z),
            prior=StandardNormalPrior(),
            decoder=LstmDecoder(hidden_size=512, tied_output=True),
        )
    ).eval()
    for recurrence in (m for m in made.modules() if isinstance(m, Recurrence)):
        recurrence.to(torch.bfloat16 if request.param == "bf16" else torch.float32)
    return made


@pytest.fixture(scope="module")
def draws() -> Draws:
    each = torch.arange(ROWS)
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
        signal=torch.randn(ROWS, Z, generator=torch.Generator().manual_seed(1)),
    )


@torch.inference_mode()
def test_neither_company_nor_place_changes_a_bit(model: LatentSeq2Seq, draws: Draws) -> None:
    def decoded(rows: torch.Tensor) -> list[object]:
        decoded = dict(Decoding(model.decoder, draws.rows(rows)).run(lambda _: False))
        return [decoded[place] for place in range(len(rows))]

    together = decoded(torch.arange(ROWS))
    assert decoded(torch.arange(ROWS).flip(0)) == together[::-1]
    for row in (0, 1, 31, 32, 69):
        assert decoded(torch.tensor([row])) == [together[row]]


@torch.inference_mode()
def test_neither_company_nor_place_changes_a_code(model: LatentSeq2Seq) -> None:
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(1, 24, (32,), generator=generator)
    contexts = torch.randint(4, 6000, (32, 24), generator=generator)
    contexts[torch.arange(24) >= lengths[:, None]] = 0
    order = torch.randperm(32, generator=generator)
    together = model.infer_stepwise(contexts, lengths)
    mixed = model.infer_stepwise(contexts[order], lengths[order])
    for one, other in zip(together, mixed, strict=True):
        assert torch.equal(one[order], other)
    short = lengths <= 9
    among_short = torch.where(short[:, None], contexts, contexts[short][:1])[:, :9]
    narrow = model.infer_stepwise(among_short, torch.where(short, lengths, lengths[short][0]))
    for one, other in zip(together, narrow, strict=True):
        assert torch.equal(one[short], other[short])
