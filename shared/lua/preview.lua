-- preview: fetch the latest preview of a job.
--
-- KEYS[1]  prefix
-- ARGV[1]  job id
-- ARGV[2]  tenant
--
-- Replies
--   OK jpeg       '' if there is none
--   MISSING       no such job
--   NOT_YOURS     another tenant's
--
-- Flags no-writes
-- Moves nothing

local verdict = ownership(ARGV[1], ARGV[2])
if verdict ~= 'OK' then return {verdict} end
return {'OK', redis.call('GET', key.preview(ARGV[1])) or ''}
