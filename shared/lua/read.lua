-- read: tell all that is known of a job.
-- With: keys, work, fair, record
--
-- KEYS[1]  prefix
-- ARGV[1]  job id
-- ARGV[2]  tenant
--
-- Replies
--   OK job
--   MISSING       no such job
--   NOT_YOURS     another tenant's
--
-- Moves nothing

local verdict = ownership(ARGV[1], ARGV[2])
if verdict ~= 'OK' then return {verdict} end
return {'OK', describe(ARGV[1])}
