"""What is done to a conversation in Redis, each in one atomic step. All keys of a script are in one hash slot.

Keys of a conversation, named ``<prefix>:{<id>}:…``:

=====  ======  =========================================================================================
``h``  hash    ``head`` (whose it is, epoch), ``last`` and ``first`` offset, ``state``, ``touched``, ``fence``; ``gone``
               and nothing else for a while after it was erased
``e``  stream  the log; an entry's id is ``<offset>-0``
``r``  hash    message id -> outcome (one letter), offset (16 digits), digest
``o``  list    message ids in the order of their offsets
``t``  hash    open turns: message id -> offset (16 digits), attempt (2 digits), turn
``l``  string  the lease ``<node>:<fence>``, with a time to live
=====  ======  =========================================================================================

The first command of a change is one that Redis refuses when it has no memory left, so that nothing is done by half.
"""

from typing import Final

from csgate.cluster.link import Script

KEYS: Final = ("h", "e", "r", "o", "t", "l")

# ARGV of every change: channel, command to publish with, node, max_events, ttl_ms. ``n`` is where its own begin.
_COMMON: Final = """
local h, e, r, o, t, l = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local most, ttl, n = tonumber(ARGV[4]), ARGV[5], 5
local function add(body, flag)
  local last = redis.call('HINCRBY', h, 'last', 1)
  if last == 1 and redis.call('HEXISTS', h, 'gone') == 1 then
    redis.call('HDEL', h, 'last')
    return nil
  end
  redis.call('XADD', e, 'MAXLEN', '=', most, string.format('%d-0', last), 'b', body)
  if last > most then
    local first = tonumber(redis.call('HGET', h, 'first') or '1')
    if last - most + 1 > first then
      first = last - most + 1
      redis.call('HSET', h, 'first', first)
      while true do
        local id = redis.call('LINDEX', o, 0)
        if not id then break end
        local record = redis.call('HGET', r, id)
        if record and (string.sub(record, 1, 1) == 'o' or tonumber(string.sub(record, 2, 17)) >= first) then break end
        redis.call('LPOP', o)
        redis.call('HDEL', r, id)
      end
    end
  end
  redis.call(ARGV[2], ARGV[1], 'L' .. ARGV[3] .. string.format('%016d', last) .. flag .. body)
  return last
end
local function stamp(offset, head, touched)
  if offset == 1 then
    redis.call('HSET', h, 'head', head, 'touched', touched)
  else
    redis.call('HSET', h, 'touched', touched)
  end
end
-- The time to live is renewed once a day, and given to keys that are new.
local function keep(fresh)
  if redis.call('PTTL', h) + 86400000 < tonumber(ttl) then
    for _, key in ipairs(KEYS) do if key ~= l then redis.call('PEXPIRE', key, ttl) end end
  else
    for _, key in ipairs(fresh) do redis.call('PEXPIRE', key, ttl) end
  end
end
"""

# + head, id, digest, body, touched, turn, lease_ms, may_own, fence, max_waiting, known. Where the holder knows of fewer
# open turns than there are (``known``), it is given them all: those of other nodes come first.
ACCEPT: Final = Script(
    6,
    _COMMON
    + """
local head, id, digest, body, touched, turn = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local record = redis.call('HGET', r, id)
if record then
  if string.sub(record, 18) ~= digest then return {'mismatch'} end
  return {'known', tonumber(string.sub(record, 2, 17))}
end
local asks, open, fresh = turn ~= '', 0, {}
if asks then
  open = redis.call('HLEN', t)
  if open > tonumber(ARGV[15]) then return {'full'} end
  if open == 0 then fresh = {t} end
end
local offset = add(body, asks and 't' or '-')
if not offset then return {'gone'} end
stamp(offset, head, touched)
redis.call('HSET', r, id, (asks and 'o' or 'u') .. string.format('%016d', offset) .. digest)
if redis.call('RPUSH', o, id) == 1 then fresh = {r, o, t} end
local fence = ''
if asks then
  redis.call('HSET', t, id, string.format('%016d', offset) .. '01' .. turn)
  local owner = redis.call('GET', l)
  if not owner and ARGV[13] == '1' and open == 0 then
    fence = string.format('%d', redis.call('HINCRBY', h, 'fence', 1))
    redis.call('SET', l, ARGV[3] .. ':' .. fence, 'PX', ARGV[12])
  elseif owner and ARGV[14] ~= '' and owner == ARGV[3] .. ':' .. ARGV[14] then
    fence = ARGV[14]
    if open > tonumber(ARGV[16]) then
      keep(fresh)
      return {'new', offset, fence, redis.call('HGET', h, 'state'), redis.call('HGETALL', t)}
    end
  end
end
keep(fresh)
return {'new', offset, fence}
""",
)

# + head, body, touched, is_state
APPEND: Final = Script(
    6,
    _COMMON
    + """
local offset = add(ARGV[7], '-')
if not offset then return 0 end
stamp(offset, ARGV[6], ARGV[8])
if ARGV[9] == '1' then redis.call('HSET', h, 'state', string.format('%d', offset) .. ':' .. ARGV[7]) end
keep({})
return offset
""",
)

# + id, fence, body, touched, outcome, state event (or empty), its time. A turn that somebody else has taken over is not
# this node's to end.
FINISH: Final = Script(
    6,
    _COMMON
    + """
local id, fence = ARGV[6], ARGV[7]
local known = redis.call('HMGET', h, 'fence', 'last')
local last = tonumber(known[2] or '0')
if known[1] ~= fence then return {'fenced', last} end
local record = redis.call('HGET', r, id)
if not record or string.sub(record, 1, 1) ~= 'o' then return {'closed', last} end
redis.call('HSET', r, id, ARGV[10] .. string.sub(record, 2))
local offset = add(ARGV[8], '-')
if ARGV[9] ~= '' then redis.call('HSET', h, 'touched', ARGV[9]) end
if ARGV[11] ~= '' then
  redis.call('HSET', h, 'state', string.format('%d', add(ARGV[11], '-')) .. ':' .. ARGV[11], 'touched', ARGV[12])
end
redis.call('HDEL', t, id)
local left = redis.call('HLEN', t)
-- Whoever had taken the lease since would have raised the fence.
if left == 0 then redis.call('DEL', l) end
keep({})
return {'done', offset, left}
""",
)

# h, e; after, limit (0: none). One state of the log.
READ: Final = Script(
    2,
    """
local known = redis.call('HMGET', KEYS[1], 'head', 'first', 'last')
if not known[1] then return {} end
local from = string.format('%d-0', tonumber(ARGV[1]) + 1)
local entries
if ARGV[2] == '0' then
  entries = redis.call('XRANGE', KEYS[2], from, '+')
else
  entries = redis.call('XREVRANGE', KEYS[2], '+', from, 'COUNT', ARGV[2])
end
return {tonumber(known[2] or '1'), tonumber(known[3]), entries}
""",
)

# h, t, l; node, lease_ms. Takes over the open turns of a conversation that nobody holds; the first may have been
# running, so its attempt counts.
TAKE: Final = Script(
    3,
    """
if redis.call('HLEN', KEYS[2]) == 0 then return {'none'} end
if redis.call('EXISTS', KEYS[3]) == 1 then return {'held'} end
local turns = redis.call('HGETALL', KEYS[2])
local first
for at = 1, #turns, 2 do
  if not first or string.sub(turns[at + 1], 1, 16) < string.sub(turns[first + 1], 1, 16) then first = at end
end
local fence = string.format('%d', redis.call('HINCRBY', KEYS[1], 'fence', 1))
local value = turns[first + 1]
local attempt = math.min(tonumber(string.sub(value, 17, 18)) + 1, 99)
turns[first + 1] = string.sub(value, 1, 16) .. string.format('%02d', attempt) .. string.sub(value, 19)
redis.call('HSET', KEYS[2], turns[first], turns[first + 1])
redis.call('SET', KEYS[3], ARGV[1] .. ':' .. fence, 'PX', ARGV[2])
local known = redis.call('HMGET', KEYS[1], 'head', 'state')
return {'taken', fence, known[1], known[2], turns}
""",
)

# h, t, l; node, fence. The open turns of a conversation that this node holds.
TURNS: Final = Script(
    3,
    """
if redis.call('GET', KEYS[3]) ~= ARGV[1] .. ':' .. ARGV[2] then return {} end
local known = redis.call('HMGET', KEYS[1], 'head', 'state')
return {known[1], known[2], redis.call('HGETALL', KEYS[2])}
""",
)

# h, t, l; node, fence, lease_ms. How many turns are open; -1: the lease is somebody else's. One that ran out, and that
# nobody took, goes on.
RENEW: Final = Script(
    3,
    """
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[2] then return -1 end
local open = redis.call('HLEN', KEYS[2])
if open == 0 then return 0 end
redis.call('SET', KEYS[3], ARGV[1] .. ':' .. ARGV[2], 'PX', ARGV[3])
return open
""",
)

# t, l; node, fence, id, attempt. Puts that attempt back: taking the turns has counted one that there will not be.
# To be sent as it is: asked for again because Redis did not know it, it would come after the release.
UNCOUNT: Final = Script(
    2,
    """
if redis.call('GET', KEYS[2]) ~= ARGV[1] .. ':' .. ARGV[2] then return 0 end
local value = redis.call('HGET', KEYS[1], ARGV[3])
if not value then return 0 end
redis.call('HSET', KEYS[1], ARGV[3], string.sub(value, 1, 16) .. ARGV[4] .. string.sub(value, 19))
return 1
""",
)

# l; node, fence
RELEASE: Final = Script(
    1,
    """
if redis.call('GET', KEYS[1]) == ARGV[1] .. ':' .. ARGV[2] then return redis.call('DEL', KEYS[1]) end
return 0
""",
)

# h, e, r, o, t, l; channel, publish, node. Not where turns wait for somebody, or are another node's.
FORGET: Final = Script(
    6,
    """
if redis.call('HLEN', KEYS[5]) > 0 then
  local owner = redis.call('GET', KEYS[6])
  if not owner or string.sub(owner, 1, #ARGV[3]) ~= ARGV[3] then return 0 end
end
redis.call('DEL', unpack(KEYS))
redis.call(ARGV[2], ARGV[1], 'G' .. ARGV[3])
return 1
""",
)

# h, e, r, o, t, l; channel, publish, node, ms. Whatever is open: who answers will find its token outdated. For ``ms``
# nothing new is taken into it: a node that has not heard yet would begin its log anew.
ERASE: Final = Script(
    6,
    """
local known = redis.call('HEXISTS', KEYS[1], 'head')
redis.call('DEL', unpack(KEYS))
redis.call('HSET', KEYS[1], 'gone', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call(ARGV[2], ARGV[1], 'G' .. ARGV[3])
return known
""",
)

# index of open turns, counter; conversation. Before a turn is opened: who looks for abandoned turns finds it here.
ENLIST: Final = Script(
    2,
    """
local ticket = redis.call('INCR', KEYS[2])
redis.call('ZADD', KEYS[1], ticket, ARGV[1])
return ticket
""",
)

# index of open turns; conversation, ticket. Unless somebody has enlisted it since.
DELIST: Final = Script(
    1,
    """
local ticket = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ticket and tonumber(ticket) == tonumber(ARGV[2]) then return redis.call('ZREM', KEYS[1], ARGV[1]) end
return 0
""",
)

ALL: Final = (ACCEPT, APPEND, FINISH, READ, TAKE, TURNS, RENEW, RELEASE, FORGET, ERASE, ENLIST, DELIST)
