"""The latest replies of all replicas up to a number of tokens, as keys and scripts for Redis.

A counter of all tokens ever published says where on one endless tape the next batch goes, so that
replicas agree without talking to one another. The tape is cut into segments. A segment has a
HyperLogLog of its distinct n-grams for each n and plain counters of all of them; the window is the
segment under way and the whole ones before it. Numerator and denominator of a segment are written
together and read together, so whatever is lost is missing from both. Knows no client.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from dialog_service.diversity import ngrams

Reply = Sequence[str]
Argument = str | int

_WHOLE_SEGMENTS = 32
_RETENTION_SECONDS = 7 * 24 * 3600
_MAX_BATCH_TOKENS = 1000  # a script can hand some thousand values to one command

# KEYS: the counter, whose braces keep every key made from it in one slot of a cluster.
# ARGV: tokens of a segment, whole segments, seconds to keep, unigrams, bigrams, then the distinct
# unigrams and the distinct bigrams, a line for each: to send them one by one is slow.
PUBLISH = """
local counter, segment_tokens, whole = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local retention, tokens, bigrams = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local function key(index, part) return string.format('%s:%d:%s', counter, index, part) end
local function lines(text)
  local found = {}
  for line in string.gmatch(text, '[^\\n]+') do found[#found + 1] = line end
  return found
end

local after = redis.call('INCRBY', counter, tokens)
local index = math.floor((after - tokens) / segment_tokens)
redis.call('HINCRBY', key(index, 'total'), '1', tokens)
redis.call('HINCRBY', key(index, 'total'), '2', bigrams)
redis.call('PFADD', key(index, '1'), unpack(lines(ARGV[6])))
redis.call('PFADD', key(index, '2'), unpack(lines(ARGV[7])))
for _, part in ipairs({'total', '1', '2'}) do
  redis.call('EXPIRE', key(index, part), retention)
end
redis.call('EXPIRE', counter, retention)
for ended = index, math.floor(after / segment_tokens) - 1 do
  for _, part in ipairs({'total', '1', '2'}) do
    redis.call('UNLINK', key(ended - whole, part))
  end
end
"""

# KEYS: the counter. ARGV: tokens of a segment, whole segments.
# Returns: unigrams, distinct unigrams, bigrams, distinct bigrams.
READ = """
local counter, segment_tokens, whole = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local newest = math.floor((tonumber(redis.call('GET', counter)) or 0) / segment_tokens)
local answer = {}
for n = 1, 2 do
  local total, sketches = 0, {}
  for index = math.max(0, newest - whole), newest do
    local prefix = string.format('%s:%d:', counter, index)
    total = total + (tonumber(redis.call('HGET', prefix .. 'total', n)) or 0)
    sketches[#sketches + 1] = prefix .. n
  end
  answer[2 * n - 1], answer[2 * n] = total, redis.call('PFCOUNT', unpack(sketches))
end
return answer
"""


@dataclass(frozen=True, slots=True)
class FleetCounts:
    """What the window holds; ``distinct`` is an estimate (0.81% standard error)."""

    total: dict[int, int]
    distinct: dict[int, int]

    @classmethod
    def of(cls, answer: Sequence[int]) -> "FleetCounts":
        """From what ``READ`` returns; raises TypeError or ValueError where it is something else."""
        unigrams, distinct_unigrams, bigrams, distinct_bigrams = map(int, answer)
        return cls({1: unigrams, 2: bigrams}, {1: distinct_unigrams, 2: distinct_bigrams})

    def distinct_ratio(self, n: int) -> float:
        """Dist-n; raises ZeroDivisionError where there is no n-gram."""
        return min(1.0, self.distinct[n] / self.total[n])


@dataclass(frozen=True, slots=True)
class FleetWindow:
    """Window of one name; replicas that ask for another size have another window."""

    name: str
    capacity_tokens: int

    @property
    def counter(self) -> str:
        """Key of the counter of all tokens ever published."""
        return f"dlg:div:v1:{{{quote(self.name, safe='/')}:{self.capacity_tokens}}}"

    @property
    def segment_tokens(self) -> int:
        """Tokens of a segment: with one to spare, since a batch may run over a segment's end."""
        return -(-self.capacity_tokens // (_WHOLE_SEGMENTS - 1))

    @property
    def read_arguments(self) -> tuple[Argument, ...]:
        """Arguments of ``READ``."""
        return self.segment_tokens, _WHOLE_SEGMENTS

    def publish_arguments(self, replies: Sequence[Reply]) -> tuple[Argument, ...]:
        """Arguments of ``PUBLISH`` for one batch."""
        unigrams, bigrams = (
            [" ".join(ngram) for tokens in replies for ngram in ngrams(tokens, n)] for n in (1, 2)
        )
        distinct = ("\n".join(dict.fromkeys(texts)) for texts in (unigrams, bigrams))
        rules = (*self.read_arguments, _RETENTION_SECONDS)
        return (*rules, len(unigrams), len(bigrams), *distinct)

    def batches(self, replies: Sequence[Reply]) -> Iterator[list[Reply]]:
        """The replies, in order, in batches of a segment's tokens or fewer."""
        limit = min(self.segment_tokens, _MAX_BATCH_TOKENS)
        batch: list[Reply] = []
        tokens = 0
        for reply in replies:
            if batch and tokens + len(reply) > limit:
                yield batch
                batch, tokens = [], 0
            batch.append(reply)
            tokens += len(reply)
        if batch:
            yield batch
