-- qwend.lua - commands and events; lua/qwend/ does the work, and is not loaded before it is needed.
if vim.g.loaded_qwend or vim.fn.has('nvim-0.7.2') == 0 then
    return
end
vim.g.loaded_qwend = true

local verbs = { 'fix', 'explain', 'document', 'test', 'rewrite', 'chat', 'start', 'stop' }

vim.api.nvim_create_user_command('Qwen', function(args)
    require('qwend').command(args)
end, {
    nargs = '?',
    range = true,
    complete = function(lead)
        return vim.tbl_filter(function(verb)
            return vim.startswith(verb, lead)
        end, verbs)
    end,
    desc = 'ask the language model of this machine',
})

local group = vim.api.nvim_create_augroup('qwend', {})
local function on(event, name)
    vim.api.nvim_create_autocmd(event, {
        group = group,
        callback = function()
            require('qwend.ghost')[name]()
        end,
    })
end
on('TextChangedI', 'on_type')
on('CursorMovedI', 'on_move')
on('InsertLeave', 'hide')

if vim.g.qwend_map_tab ~= false then
    vim.keymap.set('i', '<Tab>', function()
        if not require('qwend.ghost').accept() then
            vim.api.nvim_feedkeys(vim.api.nvim_replace_termcodes('<Tab>', true, false, true), 'n', false)
        end
    end, { desc = 'take what qwend proposes' })
end
