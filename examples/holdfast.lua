-- Asks Holdfast about a request, for haproxy.cfg. The answer's status is left in txn.holdfast_status, 503 where there is none;
-- the identity goes into the request's headers.
local holdfast = "http://127.0.0.1:3001"
local identity = { "remote-user", "remote-email", "remote-name", "remote-groups", "x-session-id" }
local passed = { "authorization", "cookie", "origin", "sec-fetch-site", "sec-fetch-mode", "sec-websocket-key", "accept", "access-control-request-method" }

-- Holdfast's own cookies are for Holdfast: the application, and its log, never see them.
local function keep_cookies(txn, sent)
  if not sent["cookie"] then return end
  local kept = {}
  for i = 0, #sent["cookie"] do
    for pair in sent["cookie"][i]:gmatch("[^;]+") do
      pair = pair:gsub("^%s*", "")
      local name = pair:gsub("^__Host%-", ""):gsub("^__Secure%-", "")
      if name:sub(1, 9) ~= "holdfast." then table.insert(kept, pair) end
    end
  end
  txn.http:req_del_header("cookie")
  if #kept > 0 then txn.http:req_add_header("cookie", table.concat(kept, "; ")) end
end

core.register_action("holdfast", { "http-req" }, function(txn)
  local sent = txn.http:req_get_headers()
  local headers = {
    ["x-forwarded-method"] = { txn.sf:method() },
    ["x-forwarded-proto"] = { "https" },
    ["x-forwarded-uri"] = { txn.sf:pathq() }, -- of HTTP/2, url() is the whole address
    ["x-forwarded-for"] = { txn.sf:src() }
  }
  if sent["host"] then headers["x-forwarded-host"] = { sent["host"][0] } end
  for _, name in ipairs(passed) do
    if sent[name] then
      headers[name] = {}
      -- Every one of them: Holdfast refuses a credential that was sent twice.
      for i = 0, #sent[name] do table.insert(headers[name], sent[name][i]) end
    end
  end

  local ok, answer = pcall(function()
    return core.httpclient():get({ url = holdfast .. txn:get_var("txn.holdfast_verify"), headers = headers, timeout = 5000 })
  end)
  local status = ok and answer and answer.status or 503
  txn:set_var("txn.holdfast_status", status)
  if status == 302 then
    txn:set_var("txn.holdfast_location", answer.headers["location"][0])
  elseif status == 401 then
    local challenge = answer.headers["www-authenticate"]
    txn:set_var("txn.holdfast_challenge", challenge and challenge[0] or "Bearer")
  elseif status == 200 then
    for _, name in ipairs(identity) do
      txn.http:req_set_header(name, answer.headers[name] and answer.headers[name][0] or "")
    end
    keep_cookies(txn, sent)
  end
end, 0)
