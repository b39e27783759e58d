" test_vim.vim - the plugin in a headless Vim, with the real language server and daemon (story_faces.py).
"
" Vim's channel callbacks run while it waits; Wait() lets them, until what is waited for is there.
execute 'set runtimepath^=' .. $ROOT .. '/client/vim'
let g:qwend_path = $QWENCTL
let g:qwend_socket = $QWEND_SOCKET
filetype on
runtime plugin/qwend.vim
let s:failed = 0

function s:Wait(condition) abort
  let l:end = reltime()
  while !a:condition() && reltimefloat(reltime(l:end)) < 30
    sleep 2m
  endwhile
  return a:condition()
endfunction

function s:Check(what, holds) abort
  call writefile([(a:holds ? 'ok - ' : 'not ok - ') .. a:what], '/dev/stdout', 'a')
  let s:failed += !a:holds
endfunction

function s:Ghosts() abort
  return prop_list(1, #{end_lnum: -1})->filter({_, p -> get(p, 'type', '') ==# 'QwendGhost'})
endfunction

" How often the user was told that there is no daemon.  What ran when it went is told of too, each by itself.
function s:Missed() abort
  return copy(qwend#Said())->filter({_, text -> text =~# '^no daemon on '})->len()
endfunction

function s:Control(word) abort
  call s:Check(a:word, system($SAY .. ' ' .. a:word) ==# "done\n")
endfunction

function s:Again() abort
  if qwend#Shown()
    return 1
  endif
  call setline(1, getline(1) .. 'b')
  call cursor(1, col('$'))
  call qwend#Ask(v:true)
  let l:asked = reltime() " another key would take its turn: this one gets a second
  while !qwend#Shown() && reltimefloat(reltime(l:asked)) < 1
    sleep 2m
  endwhile
  return qwend#Shown()
endfunction

function s:Proposed() abort
  call qwend#Ask(v:false)
  return s:Wait({-> qwend#Shown()})
endfunction

edit a.py
call setline(1, ['def area(w, h):', '    return w'])
Qwen start
call s:Check('the server starts', s:Wait({-> qwend#Running()}))

" Ex mode has no Insert mode: what its autocommands call is called here.
call cursor(2, 12)
set virtualedit=onemore
call cursor(2, 13)
call s:Check('a completion is shown', s:Proposed() && !empty(s:Ghosts()))
let s:before = getline(2)
call qwend#Accept()
call s:Check('it is accepted', getline(2)[: len(s:before) - 1] ==# s:before && join(getline(2, '$'), "\n") !=# s:before)
call s:Check('and is gone', empty(s:Ghosts()) && !qwend#Shown())

%delete _
call setline(1, ['x = 1', 'yä', 'z = 3'])
call cursor(2, 4)
call qwend#Ask(v:false)
call setline(2, 'yäq')
call cursor(2, 5)
call s:Check('a newer key supersedes', s:Proposed() && s:Ghosts()[0].lnum == 2)
call cursor(1, 1)
call qwend#OnMove()
call s:Check('moving hides it', empty(s:Ghosts()))

%delete _
call setline(1, ['What is 12 + 7?'])
1Qwen rewrite What is 12 + 7?
call s:Check('an edit is applied', s:Wait({-> getline(1) !=# 'What is 12 + 7?'}))
1Qwen explain
call s:Check('an explanation streams', s:Wait({-> getline(1) !=# ''}) && &buftype ==# 'nofile')
bwipeout
Qwen chat What is 12 + 7?
call s:Check('a chat streams', s:Wait({-> count(getbufline('qwend chat', 1, '$'), '# You') == 2}))
call s:Check('the answer is in it', index(getbufline('qwend chat', 1, '$'), '29') > 0)
bwipeout
Qwen nonsense
call s:Check('an unknown verb is refused', qwend#Said()[-1] =~# '^no nonsense')

call s:Control('kill')
call setline(1, 'a')
call cursor(1, 2)
call qwend#Ask(v:false)
call s:Check('a daemon that went is told of once', s:Wait({-> s:Missed() > 0}))
call s:Control('start')
call s:Check('it is found again', s:Wait({-> s:Again()}) && s:Missed() == 1)

Qwen stop
call s:Check('it stops', s:Wait({-> !qwend#Running()}))
call s:Check('without errors: ' .. v:errmsg, v:errmsg ==# '')
execute s:failed ? 'cquit' : 'qall!'
