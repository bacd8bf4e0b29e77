-- cancel_batch: end a batch: its jobs that have not ended, and its lines that are no jobs yet. A second time it changes
-- nothing.
--
-- KEYS[1]  prefix
-- ARGV[1]  batch id
-- ARGV[2]  tenant
--
-- Replies
--   OK batch      canceled now, or ended before
--   MISSING       no such batch
--   NOT_YOURS     another tenant's
--
-- Flags allow-oom
-- Moves queued, running -> canceled

local batch = ARGV[1]
local verdict = whose_batch(batch, ARGV[2])
if verdict ~= 'OK' then return {verdict} end
cancel_batch(batch)
return {'OK', describe_batch(batch)}
