-- Writing ahead needs commits that outlive a crash, also where the server or the role waives that.
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
