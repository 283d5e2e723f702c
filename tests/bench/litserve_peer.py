"""The plain model behind LitServe's dynamic batching: ``litserve_peer.py PORT [--autocast]``."""

import sys

import litserve
import torch
from plain_model import PlainModel, PlainSizes
from torch import Tensor

REPLIES = 10


class Peer(litserve.LitAPI):
    """One request is ``{"ids": [...]}`` of one length for all, as batches are stacked."""

    is_autocast = False

    def setup(self, device: str) -> None:
        torch.manual_seed(0)
        self.model = PlainModel(PlainSizes()).eval()

    def decode_request(self, request: dict) -> Tensor:
        return torch.tensor(request["ids"])

    def batch(self, inputs: list[Tensor]) -> Tensor:
        return torch.stack(inputs)

    def predict(self, contexts: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=self.is_autocast):
            return self.model.replies(contexts, REPLIES)

    def unbatch(self, output: Tensor) -> list[Tensor]:
        return list(output)

    def encode_response(self, output: Tensor) -> dict:
        return {"replies": output.tolist()}


class AutocastPeer(Peer):
    is_autocast = True


if __name__ == "__main__":
    api = AutocastPeer if "--autocast" in sys.argv else Peer
    server = litserve.LitServer(
        api(max_batch_size=64, batch_timeout=0.005), accelerator="cpu", timeout=300
    )
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="error"
    )
