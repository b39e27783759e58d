vim9script
# qwend.vim - a face of `qwenctl lsp`, which holds all the logic: documents out, proposals and edits in.
#
# The channel is of mode "lsp", so Vim does the framing.  Positions are UTF-8 bytes, as Vim's columns are.

var job: job
var channel: channel
var ready = false
var documents: dict<dict<any>> = {}  # by buffer number: uri, version, the lines that the server has
var ghost: dict<any> = {}            # what is proposed: buf, lnum, col, text
var asked = -1                       # id of the question under way
var streams: dict<number> = {}       # buffer that a token's text goes to
var last_token = 0
var said: list<string> = []          # for :messages of the tests

const verbs = ['fix', 'explain', 'document', 'test', 'rewrite']
const words = verbs + ['chat', 'start', 'stop']

export def Actions(_: string, _: string, _: number): string
  return join(words, "\n")
enddef

def Say(text: string)
  said->add(text)
  echomsg 'qwend: ' .. text
enddef

export def Said(): list<string>
  return said
enddef

# ---- the server

export def Running(): bool
  return ready && ch_status(channel) == 'open'
enddef

export def Start()
  if job_status(job) == 'run'
    return
  endif
  var command = [get(g:, 'qwend_path', 'qwenctl'), 'lsp']
  if get(g:, 'qwend_socket', '') != ''
    command += ['--socket', g:qwend_socket]
  endif
  if !executable(command[0])
    Say($'{command[0]} is not there (g:qwend_path)')
    return
  endif
  documents = {}
  job = job_start(command, {in_mode: 'lsp', out_mode: 'lsp', err_mode: 'nl', err_io: 'null', callback: OnMessage,
    exit_cb: OnExit})
  channel = job_getchannel(job)
  ch_sendexpr(channel, {method: 'initialize', params: {processId: getpid(), rootUri: 'file://' .. getcwd(),
    capabilities: {general: {positionEncodings: ['utf-8']},
      workspace: {applyEdit: true, workspaceEdit: {documentChanges: true}},
      textDocument: {inlineCompletion: {}}},
    initializationOptions: {showText: true, completion: get(g:, 'qwend_completion', 1) != 0,
      ignore: get(g:, 'qwend_ignore', [])}}}, {callback: OnReady})
enddef

def OnReady(_: channel, _: dict<any>)
  ready = true
  ch_sendexpr(channel, {method: 'initialized', params: {}})
enddef

export def Stop()
  if Running()
    ch_evalexpr(channel, {method: 'shutdown'}, {timeout: 500})
    ch_sendexpr(channel, {method: 'exit'})
  endif
  ready = false
  Hide()
enddef

def OnExit(_: job, status: number)
  if ready
    Say($'qwenctl lsp ended with {status}: :Qwen start')
  endif
  ready = false
  Hide()
enddef

def OnMessage(_: channel, message: dict<any>)
  if get(message, 'method', '') == 'workspace/applyEdit'
    ch_sendexpr(channel, {id: message.id, result: {applied: Apply(message.params.edit)}})
  elseif message->has_key('id') && message->has_key('method')
    ch_sendexpr(channel, {id: message.id, result: v:null})
  elseif get(message, 'method', '') == 'window/showMessage'
    Say(message.params.message->substitute('^qwend: ', '', ''))
  elseif get(message, 'method', '') == '$/progress' && message.params.value->has_key('text')
    Append(get(streams, message.params.token, 0), message.params.value.text)
  endif
enddef

# ---- documents

def Uri(buf: number): string
  var path = fnamemodify(bufname(buf), ':p')
  return bufname(buf) == '' ? $'untitled:{buf}' : 'file://' .. path->substitute('[%# ?]', (m) => printf('%%%02X', char2nr(m[0])), 'g')
enddef

def Follows(buf: number): bool
  return getbufvar(buf, '&buftype') == ''
enddef

def Lines(lines: list<string>): string
  return join(lines, "\n") .. "\n"
enddef

# The lines that differ, as one change: a key changes one line of thousands, and only that is sent.
def Difference(old: list<string>, new: list<string>): dict<any>
  var first = 0
  var same = 0
  const most = min([len(old), len(new)])
  while first < most && old[first] ==# new[first]
    first += 1
  endwhile
  while same < most - first && old[-1 - same] ==# new[-1 - same]
    same += 1
  endwhile
  const changed = new[first : len(new) - same - 1]
  return {range: {start: {line: first, character: 0}, end: {line: len(old) - same, character: 0}},
    text: empty(changed) ? '' : Lines(changed)}
enddef

# Tells the server of the buffer as it is now; false: it does not follow it.
export def Sync(buf: number): bool
  if !Running() || !Follows(buf)
    return false
  endif
  const lines = getbufline(buf, 1, '$')
  const key = string(buf)
  if !documents->has_key(key)
    documents[key] = {uri: Uri(buf), version: 1, lines: lines}
    ch_sendexpr(channel, {method: 'textDocument/didOpen', params: {textDocument: {uri: documents[key].uri,
      languageId: getbufvar(buf, '&filetype') ?? 'text', version: 1, text: Lines(lines)}}})
    return true
  endif
  var document = documents[key]
  if document.lines == lines
    return true
  endif
  document.version += 1
  ch_sendexpr(channel, {method: 'textDocument/didChange', params: {
    textDocument: {uri: document.uri, version: document.version}, contentChanges: [Difference(document.lines, lines)]}})
  document.lines = lines
  return true
enddef

export def OnSave()
  if Sync(bufnr())
    ch_sendexpr(channel, {method: 'textDocument/didSave', params: {textDocument: {uri: documents[string(bufnr())].uri}}})
  endif
enddef

export def OnClose(buf: number)
  if Running() && documents->has_key(string(buf))
    ch_sendexpr(channel, {method: 'textDocument/didClose', params: {textDocument: {uri: documents[string(buf)].uri}}})
    remove(documents, string(buf))
  endif
enddef

# ---- proposals

export def Shown(): bool
  return !empty(ghost)
enddef

export def Hide()
  if Running() && asked >= 0
    ch_sendexpr(channel, {method: '$/cancelRequest', params: {id: asked}})
    asked = -1
  endif
  if !empty(ghost) && bufexists(ghost.buf)
    prop_remove({type: 'QwendGhost', bufnr: ghost.buf, all: true})
  endif
  ghost = {}
enddef

def Show(text: string)
  if empty(prop_type_get('QwendGhost'))
    hlset([{name: 'QwendGhost', linksto: 'Comment', default: true}])
    prop_type_add('QwendGhost', {highlight: 'QwendGhost'})
  endif
  const lines = split(text, "\n", true)
  ghost = {buf: bufnr(), lnum: line('.'), col: col('.'), text: text}
  if lines[0] != ''
    prop_add(ghost.lnum, ghost.col, {type: 'QwendGhost', text: lines[0]})
  endif
  for below in lines[1 :]
    prop_add(ghost.lnum, 0, {type: 'QwendGhost', text: below ?? ' ', text_align: 'below'})
  endfor
enddef

# invoked: asked for by hand, so it may be long.
export def Ask(invoked: bool)
  Hide()
  if !Sync(bufnr())
    return
  endif
  const buf = bufnr()
  const at = [line('.'), col('.')]
  const tick = b:changedtick
  asked = ch_sendexpr(channel, {method: 'textDocument/inlineCompletion', params: {
    textDocument: {uri: documents[string(buf)].uri}, position: {line: at[0] - 1, character: at[1] - 1},
    context: {triggerKind: invoked ? 1 : 2}}}, {callback: (_, reply) => {
      const items = get(get(reply, 'result', {}) ?? {}, 'items', [])
      if bufnr() == buf && [line('.'), col('.')] == at && b:changedtick == tick
        asked = -1
        if !empty(items)
          Show(items[0].insertText)
          redraw
        endif
      endif
    }}).id
enddef

export def OnType()
  if get(g:, 'qwend_completion', 1) != 0 && Follows(bufnr())
    Start()
    Ask(false)
  endif
enddef

export def OnMove()
  if Shown() && [line('.'), col('.')] != [ghost.lnum, ghost.col]
    Hide()
  endif
enddef

export def Accept()
  if empty(ghost)
    return
  endif
  const lines = split(ghost.text, "\n", true)
  const [lnum, text, tail] = [ghost.lnum, getline(ghost.lnum)->strpart(0, ghost.col - 1),
    getline(ghost.lnum)->strpart(ghost.col - 1)]
  Hide()
  setline(lnum, text .. lines[0] .. (len(lines) == 1 ? tail : ''))
  if len(lines) > 1
    append(lnum, lines[1 : -2] + [lines[-1] .. tail])
  endif
  cursor(lnum + len(lines) - 1, (len(lines) == 1 ? len(text) : 0) + len(lines[-1]) + 1)
enddef

# ---- edits and chats

# Only to the version that was asked about: false otherwise.
def Apply(edit: dict<any>): bool
  for change in edit.documentChanges
    const found = documents->keys()->filter((_, k) => documents[k].uri == change.textDocument.uri)
    if empty(found) || !Sync(str2nr(found[0])) || documents[found[0]].version != change.textDocument.version
      return false
    endif
    for one in change.edits
      Replace(str2nr(found[0]), one.range, one.newText)
    endfor
    Sync(str2nr(found[0]))
  endfor
  return true
enddef

def Replace(buf: number, range: dict<any>, text: string)
  const whole = getbufline(buf, 1, '$')
  const [first, last] = [range.start.line, min([range.end.line, len(whole)])]
  const before = get(whole, first, '')->strpart(0, range.start.character)
  const behind = range.end.line < len(whole) ? whole[range.end.line]->strpart(range.end.character) : ''
  var new = split(before .. text .. behind, "\n", true)
  if range.end.line >= len(whole) && new[-1] == ''  # the line break at the end of a file is none of its lines
    remove(new, -1)
  endif
  deletebufline(buf, first + 1, last + 1)
  appendbufline(buf, first, new)
  if first == 0 && last + 1 >= len(whole)
    deletebufline(buf, len(new) + 1, '$')           # the empty line that an empty buffer has
  endif
enddef

def Append(buf: number, text: string)
  if buf == 0 || !bufloaded(buf)
    return
  endif
  const parts = split(text, "\n", true)
  const last = getbufline(buf, '$')[0]
  setbufline(buf, '$', last .. parts[0])
  if len(parts) > 1
    appendbufline(buf, '$', parts[1 :])
  endif
enddef

def Stream(buf: number): string
  last_token += 1
  streams[$'vim-{last_token}'] = buf
  return $'vim-{last_token}'
enddef

def Scratch(name: string): number
  execute 'botright new'
  setlocal buftype=nofile bufhidden=hide noswapfile filetype=markdown
  execute 'silent! file' fnameescape(name)
  return bufnr()
enddef

def Run(verb: string, instruction: string, first: number, last: number)
  const buf = bufnr()
  if !Sync(buf)
    Say('the language server does not run yet: :Qwen start')
    return
  endif
  var params: dict<any> = {command: $'qwend.{verb}', arguments: [{uri: documents[string(buf)].uri, instruction: instruction,
    range: {start: {line: first - 1, character: 0}, end: {line: last, character: 0}}}]}
  if verb == 'explain'
    params.partialResultToken = Stream(Scratch($'qwend explanation {last_token + 1}'))
  endif
  ch_sendexpr(channel, {method: 'workspace/executeCommand', params: params}, {callback: (_, reply) => {
    if reply->has_key('error')
      Say(reply.error.message)
    endif
  }})
enddef

# A chat is a buffer: what stands under "# You" and "# Qwen" is what was said, and may be edited.
def Messages(buf: number): list<dict<string>>
  var messages: list<dict<string>> = []
  for line in getbufline(buf, 1, '$')
    if line == '# You' || line == '# Qwen'
      messages->add({role: line == '# You' ? 'user' : 'assistant', content: ''})
    elseif !empty(messages)
      messages[-1].content ..= line .. "\n"
    endif
  endfor
  return messages->map((_, m) => ({role: m.role, content: trim(m.content)}))->filter((_, m) => m.content != '')
enddef

export def Chat(text: string)
  var buf = bufnr('^qwend chat$')
  if buf < 0
    buf = Scratch('qwend chat')
    setline(1, '# You')
    nnoremap <buffer> <silent> <CR> <ScriptCmd>Chat('')<CR>
  endif
  if text != ''
    Append(buf, "\n" .. text)
  endif
  const messages = Messages(buf)
  if empty(messages) || messages[-1].role != 'user' || !Running()
    return
  endif
  Append(buf, "\n\n# Qwen\n")
  ch_sendexpr(channel, {method: 'qwend/chat', params: {messages: messages, partialResultToken: Stream(buf)}}, {
    callback: (_, reply) => {
      Append(buf, (reply->has_key('error') ? $"({reply.error.message})" : '') .. "\n\n# You\n")
    }})
enddef

# :Qwen [VERB [WORDS]]; alone it proposes at the cursor.
export def Command(line: string, first: number, last: number, given: number)
  const verb = matchstr(line, '^\S*')
  const rest = trim(line[len(verb) :])
  if verb != '' && index(words, verb) < 0
    Say($'no {verb}: {join(words, ", ")}')
  elseif verb == 'stop'
    Stop()
  else
    Start()
    if verb == ''
      Ask(true)
    elseif verb == 'chat'
      Chat(rest)
    elseif verb != 'start'
      Run(verb, rest, given > 0 ? first : line('.'), given > 0 ? last : line('.'))
    endif
  endif
enddef
