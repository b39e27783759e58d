vim9script
# qwend.vim - commands and keys; autoload/qwend.vim does the work, and is not loaded before it is needed.
if exists('g:loaded_qwend') || !has('channel') || !has('job') || !has('textprop') || !has('patch-9.0.0067')
  finish
endif
g:loaded_qwend = 1

import autoload 'qwend.vim'

command! -nargs=? -complete=custom,qwend.Actions -range Qwen qwend.Command(<q-args>, <line1>, <line2>, <range>)
command! QwenAccept qwend.Accept()

if get(g:, 'qwend_map_tab', 1)
  inoremap <silent><expr> <Plug>(qwend-accept) qwend.Shown() ? '<Cmd>call qwend#Accept()<CR>' : "\<Tab>"
  imap <Tab> <Plug>(qwend-accept)
endif

augroup qwend
  autocmd!
  autocmd TextChangedI * qwend.OnType()
  autocmd CursorMovedI * qwend.OnMove()
  autocmd InsertLeave * qwend.Hide()
  autocmd BufWritePost * qwend.OnSave()
  autocmd BufDelete * qwend.OnClose(str2nr(expand('<abuf>')))
  autocmd VimLeavePre * qwend.Stop()
augroup END
