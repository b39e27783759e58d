-- chat.lua - a chat is a buffer: what stands under "# You" and "# Qwen" is what was said, and may be edited.
local qwend = require('qwend')
local M = {}

local buf = nil

local function open()
    if buf and vim.api.nvim_buf_is_valid(buf) then
        return
    end
    buf = qwend.scratch('qwend://chat')
    vim.api.nvim_buf_set_lines(buf, 0, -1, true, { '# You' })
    vim.keymap.set('n', '<CR>', function()
        M.say('')
    end, { buffer = buf, desc = 'send what was written' })
end

local function messages()
    local all, lines = {}, {}
    local function close()
        if #all > 0 then
            all[#all].content = vim.trim(table.concat(lines, '\n'))
        end
        lines = {}
    end
    for _, line in ipairs(vim.api.nvim_buf_get_lines(buf, 0, -1, true)) do
        if line == '# You' or line == '# Qwen' then
            close()
            all[#all + 1] = { role = line == '# You' and 'user' or 'assistant', content = '' }
        else
            lines[#lines + 1] = line
        end
    end
    close()
    return vim.tbl_filter(function(message)
        return message.content ~= ''
    end, all)
end

local function send(client, all, into)
    qwend.append(into, '\n\n# Qwen\n')
    qwend.call(client, 'request', 'qwend/chat', {
        messages = all,
        partialResultToken = qwend.stream(function(text)
            qwend.append(into, text)
        end),
    }, function(err)
        qwend.append(into, (err and '(' .. err.message .. ')' or '') .. '\n\n# You\n')
    end, into)
end

-- Sends what stands under the last "# You", and text behind it.
function M.say(text)
    local from = vim.api.nvim_get_current_buf()
    local into
    qwend.when_ready(from ~= buf and from or vim.fn.bufnr('#'), function(client)
        open()
        into = buf
        if text ~= '' then
            qwend.append(into, '\n' .. text)
        end
        local all = messages()
        if #all > 0 and all[#all].role == 'user' then
            send(client, all, into)
        end
    end)
end

return M
