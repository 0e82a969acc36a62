-- `http-request lua.delay N`: each request reaches the gateway N milliseconds later.
core.register_action("delay", { "http-req" }, function(_, milliseconds)
  core.msleep(tonumber(milliseconds))
end, 1)
