-- test_nvim.lua - the plugin in a headless Neovim, with the real language server and daemon (story_faces.py).
--
-- This Neovim drives another one, embedded, by its API: keys are typed there as a person would, so that the events are real.
local failed = 0

local child = vim.fn.jobstart({ vim.v.progpath, '--embed', '--headless', '-u', 'NONE', '-i', 'NONE', '-n' }, { rpc = true })

local function lua(code, ...)
    return vim.rpcrequest(child, 'nvim_exec_lua', code, { ... })
end

local function input(keys)
    vim.rpcrequest(child, 'nvim_input', keys)
end

local function command(text)
    vim.rpcrequest(child, 'nvim_command', text)
end

local function lines(buf)
    return vim.rpcrequest(child, 'nvim_buf_get_lines', buf or 0, 0, -1, true)
end

local function wait(condition)
    return (vim.wait(30000, condition, 3))
end

local function check(what, holds)
    io.stdout:write((holds and 'ok - ' or 'not ok - ') .. what .. '\n')
    failed = failed + (holds and 0 or 1)
end

local function shown()
    local text = lua("return require('qwend.ghost').shown()")
    return text ~= vim.NIL and text or nil
end

local function n_marks()
    return lua("return #vim.api.nvim_buf_get_extmarks(0, vim.api.nvim_create_namespace('qwend'), 0, -1, {})")
end

local function said()
    return lua('return said')
end

local function say(word)
    check(word, vim.fn.system(vim.env.SAY .. ' ' .. word) == 'done\n')
end

local function run()
    command('set rtp^=' .. vim.env.ROOT .. '/client/nvim')
    lua('said = {}; vim.notify = function(text) said[#said + 1] = text end')
    command('runtime plugin/qwend.lua')
    lua("require('qwend').setup({path = vim.env.QWENCTL, socket = vim.env.QWEND_SOCKET, ignore = {'*.private'}})")
    command('edit a.py')
    input('idef area(w, h):<CR>    return w')
    check('a completion is shown', wait(shown) and n_marks() == 1)
    local before, ghost = lines(), shown()
    input('<Tab>')
    check('a key takes it', wait(function()
        return table.concat(lines(), '\n') == table.concat(before, '\n') .. ghost
    end) and not shown() and n_marks() == 0)
    input('<Esc>')

    command('%delete _')
    input('iä = x')
    wait(shown)
    input('yz')
    check('a newer key supersedes', wait(function()
        return lines()[1] == 'ä = xyz' and shown()
    end))
    input('<Esc>')
    check('leaving hides it', wait(function()
        return not shown() and n_marks() == 0
    end))
    input('0i')
    input('<Tab>')
    check('Tab is a Tab where nothing is proposed', wait(function()
        return lines()[1]:sub(1, 1) == '\t'
    end))
    input('<Esc>')

    vim.rpcrequest(child, 'nvim_buf_set_lines', 0, 0, -1, true, { 'What is 12 + 7?' })
    command('Qwen rewrite What is 12 + 7?')
    check('an edit is applied', wait(function()
        return lines()[1] ~= 'What is 12 + 7?'
    end))
    command('Qwen explain')
    check('an explanation streams', wait(function()
        return lua('return vim.bo.buftype') == 'nofile' and lines()[1] ~= ''
    end))
    command('bwipeout!')
    command('Qwen chat What is 12 + 7?')
    check('a chat streams', wait(function()
        return lua("return vim.fn.bufname()") == 'qwend://chat' and vim.tbl_contains(lines(), '29')
            and lines()[#lines() - 1] == '# You'
    end))
    input('GoWhat is 1 + 1?<Esc><CR>')
    check('it goes on with a key', wait(function()
        return #vim.tbl_filter(function(line)
            return line == '# You'
        end, lines()) == 3
    end))
    command('bwipeout!')
    command('Qwen nonsense')
    check('an unknown verb is refused', said()[#said()]:find('no nonsense', 1, true) ~= nil)

    lua("messages = 0; vim.lsp.handlers['window/showMessage'] = function() messages = messages + 1 end")
    say('kill')
    input('ox')
    check('a daemon that went is told of once', wait(function()
        return lua('return messages') == 1
    end))
    say('start')
    check('it is found again', wait(function()
        if not shown() then
            input('y')
            vim.wait(1000, shown, 5) -- another key would take its turn
        end
        return shown()
    end) and lua('return messages') == 1)
    input('<Esc>')
    command('edit a.private')
    input('ix = ')
    command('Qwen explain')
    check('a secret is left alone', wait(function()
        return (said()[#said()] or ''):find('secrets', 1, true) ~= nil
    end) and not shown())
    command('Qwen stop')
    check('it stops', wait(function()
        return lua("return require('qwend').client() == nil")
    end))
end

local ok, why = xpcall(run, debug.traceback)
check('the test itself' .. (ok and '' or ': ' .. why:gsub('\n', ' ')), ok)
vim.fn.jobstop(child)
vim.cmd(failed > 0 and 'cquit' or 'qall!')
