-- read: tell all that is known of jobs.
--
-- KEYS[1]  prefix
-- ARGV[1...]  job ids, each with the tenant who asks
--
-- Replies
--   OK found      for each job {OK, job}, {MISSING} (no such job) or {NOT_YOURS} (another tenant's)
--
-- Flags no-writes
-- Moves nothing

local found = {}
for at = 1, #ARGV, 2 do
  local id, verdict = ARGV[at], ownership(ARGV[at], ARGV[at + 1])
  found[#found + 1] = verdict == 'OK' and {verdict, describe(id)} or {verdict}
end
return {'OK', found}
