-- batch_results: tell what some of a batch's lines asked for and what became of them.
--
-- KEYS[1]  prefix
-- ARGV[1]  batch id
-- ARGV[2]  tenant
-- ARGV[3]  lines before the first one
-- ARGV[4]  most lines
--
-- Replies
--   OK batch results   each of them {line as it was put down, job id or '', job or '' if there is none (any more)}
--   MISSING       no such batch
--   NOT_YOURS     another tenant's
--
-- Flags no-writes
-- Moves nothing

local batch, first = ARGV[1], tonumber(ARGV[3])
local verdict = whose_batch(batch, ARGV[2])
if verdict ~= 'OK' then return {verdict} end
local last = first + ARGV[4] - 1
local jobs, results = redis.call('LRANGE', key.line_jobs(batch), first, last), {}
for at, line in ipairs(redis.call('LRANGE', key.lines(batch), first, last)) do
  local id = jobs[at] or ''
  local known = id ~= '' and redis.call('EXISTS', key.job(id)) == 1
  results[at] = {line, id, known and describe(id) or ''}
end
return {'OK', describe_batch(batch), results}
