"""The simplest right way to one reply: whole-sequence encoder, one row, one step at a time."""

import torch
from torch import Tensor

from dialog_service.models.search import TokenRule, normals, pick, uniforms
from dialog_service.models.seq2seq import LatentSeq2Seq
from dialog_service.replies import SamplingParameters
from dialog_service.vocabulary import BOS, EOS


@torch.inference_mode()
def plain_code(
    model: LatentSeq2Seq, context: list[int], sampling: SamplingParameters, *, seed: int, draw: int
) -> tuple[Tensor, Tensor]:
    """(1, Z) the code of one draw, and the (1, C) state of its context."""
    ids = torch.tensor([context])
    encoded = model.encoder(model.embedding(ids), torch.tensor([len(context)]))
    belief = model.reply_belief(encoded)
    noise = normals(torch.tensor([seed]), torch.tensor([draw]), model.config.latent_dim)
    return belief.loc + sampling.latent_scale * belief.scale * noise, encoded


@torch.inference_mode()
def plain_reply(
    model: LatentSeq2Seq, context: list[int], sampling: SamplingParameters, *, seed: int, draw: int
) -> list[int]:
    """The ids of one draw, its end included where it comes to one."""
    z, encoded = plain_code(model, context, sampling, seed=seed, draw=draw)
    signal = model.bridge(z, model.bridge.share(encoded))
    state, words = model.decoder.start(signal), [BOS]
    rule = TokenRule(
        temperature=torch.tensor([sampling.temperature]),
        top_k=torch.tensor([sampling.top_k]),
        top_p=torch.tensor([sampling.top_p], dtype=torch.float64),
    )
    for position in range(sampling.max_tokens):
        step = model.decoder.step if position else model.decoder.first_step
        scores, state = step(torch.tensor([words[-1]]), signal, state)
        scores[:, : EOS if position else EOS + 1] = -torch.inf
        random = uniforms(torch.tensor([seed]), torch.tensor([draw]), position)[:, 0]
        words.append(int(pick(scores, rule, random)))
        if words[-1] == EOS:
            break
    return words[1:]
