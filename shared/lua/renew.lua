-- renew: hold on to leases.
--
-- KEYS[1]  prefix
-- ARGV[1]  lease in ms
-- ARGV[2...]  pairs: job id, lease token
--
-- Replies
--   OK verdicts   for each pair OK, MISSING, CANCELED, ENDED or LOST
--
-- Flags allow-oom
-- Moves nothing

local verdicts = {}
for at = 2, #ARGV, 2 do
  local id = ARGV[at]
  local verdict = standing(id, ARGV[at + 1])
  if verdict == 'OK' then
    redis.call('ZADD', key.leases, 'XX', now_ms() + ARGV[1], id)
    redis.call('SREM', key.graced, id)
  end
  verdicts[#verdicts + 1] = verdict
end
return {'OK', verdicts}
