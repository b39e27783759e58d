-- ghost.lua - what is proposed at the cursor, shown as virtual text until it is taken or the cursor moves.
local qwend = require('qwend')
local M = {}

local namespace = vim.api.nvim_create_namespace('qwend')
local can_inline = vim.fn.has('nvim-0.10') == 1 -- older ones lay it over the rest of the line
local ghost = nil -- what is shown: buf, row, col, lines
local asked = nil -- the question under way: client, id

vim.api.nvim_set_hl(0, 'QwendGhost', { link = 'Comment', default = true })

function M.shown()
    return ghost and table.concat(ghost.lines, '\n') or nil
end

function M.hide()
    if asked then
        qwend.call(asked.client, 'cancel_request', asked.id)
        asked = nil
    end
    if ghost and vim.api.nvim_buf_is_valid(ghost.buf) then
        vim.api.nvim_buf_clear_namespace(ghost.buf, namespace, 0, -1)
    end
    ghost = nil
end

local function cursor()
    local at = vim.api.nvim_win_get_cursor(0)
    return at[1] - 1, at[2]
end

local function show(buf, row, col, text)
    local lines = vim.split(text, '\n', { plain = true })
    local rest = vim.api.nvim_buf_get_lines(buf, row, row + 1, true)[1]:sub(col + 1)
    local below = {}
    for i = 2, #lines do
        below[#below + 1] = { { lines[i] == '' and ' ' or lines[i], 'QwendGhost' } }
    end
    local first = { { lines[1], 'QwendGhost' } }
    if not can_inline and rest ~= '' then
        first[2] = { rest, 'Normal' }
    end
    vim.api.nvim_buf_set_extmark(buf, namespace, row, col, {
        virt_text = first,
        virt_text_pos = can_inline and 'inline' or 'overlay',
        virt_lines = #below > 0 and below or nil,
    })
    ghost = { buf = buf, row = row, col = col, lines = lines }
end

-- invoked: asked for by hand, so it may be long.
function M.ask(invoked)
    local buf = vim.api.nvim_get_current_buf()
    M.hide()
    qwend.when_ready(buf, function(client)
        if vim.api.nvim_get_current_buf() ~= buf then
            return
        end
        local row, col = cursor()
        local tick = vim.api.nvim_buf_get_changedtick(buf)
        local params = vim.lsp.util.make_position_params(0, client.offset_encoding)
        params.context = { triggerKind = invoked and 1 or 2 }
        local _, id = qwend.call(client, 'request', 'textDocument/inlineCompletion', params, function(_, result)
            local now_row, now_col = cursor()
            local item = result and result.items and result.items[1]
            if
                vim.api.nvim_get_current_buf() == buf
                and vim.api.nvim_buf_get_changedtick(buf) == tick
                and now_row == row
                and now_col == col
            then
                asked = nil
                if item then
                    show(buf, row, col, item.insertText)
                end
            end
        end, buf)
        asked = id and { client = client, id = id } or nil
    end)
end

function M.on_type()
    if qwend.options.completion and vim.bo.buftype == '' then
        M.ask(false)
    end
end

function M.on_move()
    local row, col = cursor()
    if ghost and (ghost.row ~= row or ghost.col ~= col) then
        M.hide()
    end
end

-- false: nothing was proposed
function M.accept()
    if not ghost then
        return false
    end
    local taken = ghost
    local last = taken.lines[#taken.lines]
    M.hide()
    vim.api.nvim_buf_set_text(taken.buf, taken.row, taken.col, taken.row, taken.col, taken.lines)
    vim.api.nvim_win_set_cursor(0, { taken.row + #taken.lines, (#taken.lines == 1 and taken.col or 0) + #last })
    return true
end

return M
