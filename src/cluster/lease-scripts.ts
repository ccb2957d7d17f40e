/*
 * The coordination keys and channels share one hash slot, so that published messages keep their
 * order.
 *   holdfast:<store>:{nodes}           hash: replid and birth of this table, seq (invalidations announced), n:<node> (lease's end, Redis ms)
 *   holdfast:<store>:{nodes}:changes   channel: what every node must forget
 *   holdfast:<store>:{nodes}:<node>    channel: that node's heartbeats, and acknowledgements for what it announced
 * Table, replid and birth are one key, so eviction takes all of it or nothing. A lost table is
 * created again with a new birth, and a revocation waits until it is a lease old. Each script
 * deletes first: at `maxmemory` Redis allows writes only to a script that began with a delete.
 */
const PRELUDE = `
redis.call('HDEL', KEYS[1], '')
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
if redis.call('HGET', KEYS[1], 'replid') ~= replid then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'replid', replid, 'birth', now, 'seq', 0)
end
local state = redis.call('HMGET', KEYS[1], 'birth', 'seq')
`

// KEYS table. ARGV node, lease ms, channel, sent (the renewal's name), publish command.
export const RENEW = `${PRELUDE}
redis.call('HSET', KEYS[1], 'n:' .. ARGV[1], now + ARGV[2])
local beat = cjson.encode({kind = 'heartbeat', sent = ARGV[4], replid = replid, birth = state[1], seq = tonumber(state[2])})
redis.call(ARGV[5], ARGV[3], beat)
return 1`

// KEYS table. ARGV channel, announcement as JSON without its seq, publish command, ms after which
// an ended lease is forgotten.
export const ANNOUNCE = `${PRELUDE}
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
redis.call(ARGV[3], ARGV[1], '{"seq":' .. seq .. ',' .. string.sub(ARGV[2], 2))
local leases = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 2) == 'n:' then
    if tonumber(all[i + 1]) < now - ARGV[4] then redis.call('HDEL', KEYS[1], all[i])
    else leases[#leases + 1] = string.sub(all[i], 3); leases[#leases + 1] = tonumber(all[i + 1]) - now end
  end
end
return {now - state[1], unpack(leases)}`

// KEYS table. ARGV node.
export const RESIGN = `redis.call('HDEL', KEYS[1], 'n:' .. ARGV[1]) return 1`
