-- cancel: end a job that has not ended. Its worker is told when it next speaks.
--
-- KEYS[1]  prefix
-- ARGV[1]  job id
-- ARGV[2]  tenant
--
-- Replies
--   OK job        canceled now, or ended before
--   MISSING       no such job
--   NOT_YOURS     another tenant's
--
-- Flags allow-oom
-- Moves queued, running -> canceled

local id = ARGV[1]
local verdict = ownership(id, ARGV[2])
if verdict ~= 'OK' then return {verdict} end
local status = field(id, 'status')
if status == 'queued' or status == 'running' then close(id, 'canceled') end
return {'OK', describe(id)}
