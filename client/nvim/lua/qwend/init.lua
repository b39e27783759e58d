-- init.lua - a face of `qwenctl lsp`, which holds all the logic: starts it, runs :Qwen.
--
-- Neovim's own client does documents, encodings and edits; this only asks.  Works with 0.7.2 and later.
local M = { client_id = nil }

M.options = {
    path = 'qwenctl', -- the program
    socket = nil, -- where the daemon listens; nil: the usual places
    completion = true, -- propose text while typing
    ignore = {}, -- globs of files that are never shown to the model, beside those that always are not
}

-- Takes those options that are given; nothing need be called for the defaults.
function M.setup(options)
    M.options = vim.tbl_deep_extend('force', M.options, options or {})
end

local verbs = { 'fix', 'explain', 'document', 'test', 'rewrite' }
local streams = {} -- token: what takes its text
local n_tokens = 0

function M.say(text)
    vim.notify('qwend: ' .. text, vim.log.levels.WARN)
end

-- A token whose text goes to take(text).
function M.stream(take)
    n_tokens = n_tokens + 1
    local token = 'nvim-' .. n_tokens
    streams[token] = take
    return token
end

-- ---- the server

-- Methods of a client want the client itself since 0.11.
local has_methods = vim.fn.has('nvim-0.11') == 1
function M.call(client, name, ...)
    if has_methods then
        return client[name](client, ...)
    end
    return client[name](...)
end

local function on_progress(err, result, ctx, config)
    local take = streams[result.token]
    if not take then
        return vim.lsp.handlers['$/progress'](err, result, ctx, config)
    end
    take(result.value.text)
end

local function capabilities()
    local all = vim.lsp.protocol.make_client_capabilities()
    all.textDocument.inlineCompletion = { dynamicRegistration = false }
    all.workspace.workspaceEdit.documentChanges = true
    return all
end

function M.client()
    local client = M.client_id and vim.lsp.get_client_by_id(M.client_id)
    return client and not M.call(client, 'is_stopped') and client or nil
end

function M.start()
    if M.client() then
        return M.client()
    end
    local cmd = { M.options.path, 'lsp' }
    if vim.fn.executable(cmd[1]) == 0 then
        return M.say(cmd[1] .. ' is not there (setup{path = ...})')
    end
    if M.options.socket then
        vim.list_extend(cmd, { '--socket', M.options.socket })
    end
    local config = {
        name = 'qwend',
        cmd = cmd,
        root_dir = vim.fn.getcwd(),
        capabilities = capabilities(),
        handlers = { ['$/progress'] = on_progress },
        init_options = { completion = M.options.completion, ignore = M.options.ignore, showText = true },
    }
    M.client_id = has_methods and vim.lsp.start(config, { attach = false }) or vim.lsp.start_client(config)
    return M.client()
end

function M.stop()
    local client = M.client()
    require('qwend.ghost').hide()
    if client then
        M.call(client, 'stop')
    end
end

-- The client, once it knows this buffer; nil: it does not follow it, or does not run yet.
function M.attach(buf)
    local client = vim.bo[buf].buftype == '' and M.start() or nil
    if client and not vim.lsp.buf_is_attached(buf, client.id) then
        vim.lsp.buf_attach_client(buf, client.id)
    end
    return client and client.initialized and client or nil
end

-- Calls with the client when it is ready.
function M.when_ready(buf, work)
    local tries = 0
    local function try()
        local client = M.attach(buf)
        tries = tries + 1
        if client then
            work(client)
        elseif M.client() and tries < 500 then
            vim.defer_fn(try, 10) -- 0.7 tells nobody when a client is ready
        end
    end
    try()
end

-- ---- :Qwen

function M.scratch(name)
    vim.cmd('botright new')
    local buf = vim.api.nvim_get_current_buf()
    vim.bo[buf].buftype = 'nofile'
    vim.bo[buf].bufhidden = 'hide'
    vim.bo[buf].filetype = 'markdown'
    pcall(vim.api.nvim_buf_set_name, buf, name)
    return buf
end

function M.append(buf, text)
    if not vim.api.nvim_buf_is_loaded(buf) then
        return
    end
    local last = vim.api.nvim_buf_line_count(buf)
    local line = vim.api.nvim_buf_get_lines(buf, last - 1, last, true)[1]
    vim.api.nvim_buf_set_lines(buf, last - 1, last, true, vim.split(line .. text, '\n', { plain = true }))
end

local function run(verb, instruction, first, last)
    local buf = vim.api.nvim_get_current_buf()
    M.when_ready(buf, function(client)
        local given = {
            uri = vim.uri_from_bufnr(buf),
            instruction = instruction,
            range = { start = { line = first - 1, character = 0 }, ['end'] = { line = last, character = 0 } },
        }
        local token = nil
        if verb == 'explain' then
            local into = M.scratch('qwend://explanation/' .. n_tokens + 1)
            token = M.stream(function(text)
                M.append(into, text)
            end)
        end
        M.call(client, 'request', 'workspace/executeCommand', {
            command = 'qwend.' .. verb,
            arguments = { given },
            partialResultToken = token,
        }, function(err)
            if err then
                M.say(err.message)
            end
        end, buf)
    end)
end

-- :Qwen [VERB [WORDS]]; alone it proposes at the cursor.
function M.command(args)
    local verb, rest = args.args:match('^(%S*)%s*(.*)$')
    if verb == 'stop' then
        M.stop()
    elseif verb == 'start' then
        M.attach(0)
    elseif verb == '' then
        require('qwend.ghost').ask(true)
    elseif verb == 'chat' then
        require('qwend.chat').say(rest)
    elseif vim.tbl_contains(verbs, verb) then
        run(verb, rest ~= '' and rest or nil, args.line1, args.line2)
    else
        M.say('no ' .. verb .. ': ' .. table.concat(verbs, ', ') .. ', chat, start, stop')
    end
end

return M
