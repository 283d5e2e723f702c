"""The matcher's parts, by themselves."""

import math

import pytest
import torch

from dialog_service.models.config import MatcherConfig
from dialog_service.models.matcher import Matcher, text_features

CONFIG = MatcherConfig(hidden_size=9, output_size=5)


@pytest.fixture
def matcher() -> Matcher:
    torch.manual_seed(1)
    return Matcher(CONFIG, feature_size=7).eval()


def test_vectors_are_of_unit_length(matcher: Matcher) -> None:
    features = 10 * torch.randn(6, 7)
    for tower in (matcher.contexts, matcher.replies):
        assert torch.allclose(tower(features).norm(dim=1), torch.ones(6))
    assert not torch.allclose(matcher.contexts(features), matcher.replies(features))


@pytest.mark.parametrize(
    ("slope", "offset", "cosine"), [(10.0, 0.0, 1.0), (4.0, -2.0, 0.5), (4.0, 1.0, -1.0)]
)
def test_relevance_is_the_logistic_of_a_line(
    matcher: Matcher, slope: float, offset: float, cosine: float
) -> None:
    with torch.no_grad():
        matcher.slope.fill_(slope)
        matcher.offset.fill_(offset)
    context = torch.tensor([[1.0, 0.0]])
    reply = torch.tensor([[cosine, math.sqrt(1 - cosine**2)]])
    wanted = 1 / (1 + math.exp(-slope * cosine - offset))
    assert matcher.relevance(context, reply).item() == pytest.approx(wanted)


def test_features_are_states_and_means_whatever_the_company() -> None:
    torch.manual_seed(2)
    table = torch.randn(11, 3)
    texts = [[1, 2, 3], [4], [5, 5, 6, 10, 0]]
    states = torch.randn(3, 2)
    features = text_features(states, table, texts)
    for row, text in enumerate(texts):
        assert torch.equal(features[row, :2], states[row])
        assert torch.allclose(features[row, 2:], table[text].mean(dim=0))
        alone = text_features(states[row : row + 1], table, [text])
        assert torch.equal(alone[0], features[row])


def test_learning_drops_and_replying_does_not(matcher: Matcher) -> None:
    features = torch.randn(4, 7)
    assert torch.equal(matcher.replies(features), matcher.replies(features))
    matcher.train()
    assert not torch.equal(matcher.replies(features), matcher.replies(features))
