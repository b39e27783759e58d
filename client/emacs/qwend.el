;;; qwend.el --- completions and edits by this machine's language model -*- lexical-binding: t -*-

;; Version: 0.1.0
;; Package-Requires: ((emacs "28.1"))
;; Keywords: convenience, tools
;; SPDX-License-Identifier: Apache-2.0

;;; Commentary:

;; A face of `qwenctl lsp', which holds all the logic: documents out, proposals and edits in.
;; `qwend-mode' in a buffer proposes text at the cursor while you type; TAB takes it.
;; `qwend-fix', `qwend-explain', `qwend-document', `qwend-test' and `qwend-rewrite' work on the region, `qwend-chat' talks.
;; The client of eglot could do all but the ghost text; it wants one server a mode, and this one serves all of them.

;;; Code:

(require 'jsonrpc)
(require 'seq)
(require 'subr-x)
(require 'url-util)

(defgroup qwend nil "The language model of this machine." :group 'tools)
(defcustom qwend-program "qwenctl" "The program." :type 'file)
(defcustom qwend-socket nil "Where the daemon listens; nil: the usual places." :type '(choice (const nil) file))
(defcustom qwend-completion t "Whether text is proposed while typing." :type 'boolean)
(defcustom qwend-ignore nil "Globs of files that the model is never shown, beside keys and the like."
  :type '(repeat string))
(defface qwend-ghost '((t :inherit shadow)) "What is proposed.")

(defvar qwend--server nil "The connection, or nil.")
(defvar qwend--ready nil "Whether the server has answered.")
(defvar qwend--streams nil "Alist: what takes the text of a token.")
(defvar qwend--n-tokens 0)
(defvar qwend--said nil "What was said, newest first.")
(defvar-local qwend--version nil "Of this buffer, as the server knows it; nil: it does not.")
(defvar-local qwend--change nil "The range that is about to change, and where it begins and ends.")
(defvar-local qwend--ghost nil "The overlay of what is proposed.")

(defun qwend--say (format &rest args)
  "Tell the user, as `message' does with FORMAT and ARGS."
  (push (apply #'format format args) qwend--said)
  (message "qwend: %s" (car qwend--said)))

(defvar qwend-ghost-map
  (let ((map (make-sparse-keymap)))
    (define-key map (kbd "C-c C-g") #'qwend-hide)
    map)
  "Keys where something is proposed.")

;;;; The server

(defun qwend--running-p ()
  "Whether the server runs and has answered."
  (and qwend--server qwend--ready (jsonrpc-running-p qwend--server)))

(defun qwend-start ()
  "Start the language server, unless it runs."
  (interactive)
  (unless (and qwend--server (jsonrpc-running-p qwend--server))
    (setq qwend--ready nil
          qwend--server
          (make-instance
           'jsonrpc-process-connection
           :name "qwend" :events-buffer-scrollback-size 0
           :process (make-process :name "qwend" :connection-type 'pipe :coding 'utf-8-emacs-unix :noquery t
                                  :stderr (get-buffer-create " *qwend stderr*")
                                  :command `(,qwend-program "lsp" ,@(and qwend-socket (list "--socket" qwend-socket))))
           :notification-dispatcher #'qwend--on-notification
           :request-dispatcher #'qwend--on-request
           :on-shutdown #'qwend--on-shutdown))
    (jsonrpc-async-request
     qwend--server :initialize
     `(:processId ,(emacs-pid) :rootUri ,(qwend--path-uri default-directory)
       :capabilities (:general (:positionEncodings ["utf-8"])
                      :workspace (:applyEdit t :workspaceEdit (:documentChanges t))
                      :textDocument (:inlineCompletion ,(make-hash-table)))
       :initializationOptions (:showText t :completion ,(if qwend-completion t :json-false)
                               :ignore ,(vconcat qwend-ignore)))
     :success-fn (lambda (_) (setq qwend--ready t) (jsonrpc-notify qwend--server :initialized (make-hash-table)))
     :error-fn (lambda (err) (qwend--say "%s" (plist-get err :message))))))

(defun qwend-stop ()
  "End the language server."
  (interactive)
  (when (qwend--running-p)
    (jsonrpc-request qwend--server :shutdown nil :timeout 1)
    (jsonrpc-notify qwend--server :exit nil))
  (setq qwend--ready nil))

(defun qwend--on-shutdown (_)
  "The server is gone: every buffer is told anew to the next one."
  (setq qwend--ready nil)
  (dolist (buffer (buffer-list))
    (with-current-buffer buffer
      (setq qwend--version nil)
      (qwend-hide))))

(defun qwend--on-notification (_ method params)
  "Take METHOD with PARAMS from the server."
  (pcase method
    ('window/showMessage (qwend--say "%s" (string-remove-prefix "qwend: " (plist-get params :message))))
    ('$/progress
     (let ((take (cdr (assoc (plist-get params :token) qwend--streams)))
           (text (plist-get (plist-get params :value) :text)))
       (when (and take text) (funcall take text))))))

(defun qwend--on-request (_ method params)
  "Answer METHOD with PARAMS of the server."
  (when (eq method 'workspace/applyEdit)
    `(:applied ,(if (qwend--apply (plist-get params :edit)) t :json-false))))

(defun qwend--stream (take)
  "A token whose text TAKE is called with."
  (let ((token (format "emacs-%d" (setq qwend--n-tokens (1+ qwend--n-tokens)))))
    (push (cons token take) qwend--streams)
    token))

;;;; Documents

(defun qwend--path-uri (path)
  "The URI of PATH."
  (concat "file://" (url-hexify-string (expand-file-name path) url-path-allowed-chars)))

(defun qwend--uri ()
  "The URI of this buffer."
  (if buffer-file-name (qwend--path-uri buffer-file-name)
    (concat "untitled:" (url-hexify-string (buffer-name)))))

(defun qwend--position (pos)
  "POS as the server counts: lines, and bytes of UTF-8."
  (save-excursion
    (save-restriction
      (widen)
      (goto-char pos)
      (let ((bol (line-beginning-position)))
        `(:line ,(1- (line-number-at-pos pos t))
          :character ,(string-bytes (buffer-substring-no-properties bol pos)))))))

(defun qwend--point-of (position)
  "Where POSITION is."
  (goto-char (point-min))
  (let ((character (plist-get position :character)))
    (if (> (forward-line (plist-get position :line)) 0) (point-max)
      (or (byte-to-position (min (+ (position-bytes (point)) character) (position-bytes (line-end-position))))
          (line-end-position)))))

(defun qwend--document ()
  "This buffer, with its version."
  `(:uri ,(qwend--uri) :version ,qwend--version))

(defun qwend--open ()
  "Tell the server of this buffer, unless it knows it; nil: it cannot be told yet."
  (when (qwend--running-p)
    (unless qwend--version
      (setq qwend--version 0)
      (jsonrpc-notify qwend--server :textDocument/didOpen
                      `(:textDocument (:uri ,(qwend--uri) :version 0
                                       :languageId ,(string-remove-suffix "-mode" (symbol-name major-mode))
                                       :text ,(save-restriction
                                                (widen)
                                                (buffer-substring-no-properties (point-min) (point-max)))))))
    t))

(defun qwend--tell (change)
  "Tell the server of CHANGE."
  (setq qwend--version (1+ qwend--version))
  (jsonrpc-notify qwend--server :textDocument/didChange
                  `(:textDocument ,(qwend--document) :contentChanges [,change])))

(defun qwend--before-change (begin end)
  "What is between BEGIN and END is about to change."
  (when (and qwend--version (qwend--running-p))
    (setq qwend--change (list begin end (qwend--position begin) (qwend--position end)))))

(defun qwend--after-change (begin end length)
  "LENGTH characters have become those between BEGIN and END."
  (when (and qwend--version (qwend--running-p))
    (save-match-data
      (save-restriction
        (widen)
        (pcase qwend--change
          (`(,from ,to ,from-pos ,to-pos)
           (if (and (= from begin) (= to (+ begin length)))
               (qwend--tell `(:range (:start ,from-pos :end ,to-pos)
                              :text ,(buffer-substring-no-properties begin end)))
             ;; some functions announce more than they change, or not at all
             (qwend--tell `(:text ,(buffer-substring-no-properties (point-min) (point-max))))))
          (_ (qwend--tell `(:text ,(buffer-substring-no-properties (point-min) (point-max))))))))
    (setq qwend--change nil)))

(defun qwend--after-save ()
  "Tell the server that this buffer was saved."
  (when (and qwend--version (qwend--running-p))
    (jsonrpc-notify qwend--server :textDocument/didSave `(:textDocument ,(qwend--document)))))

(defun qwend--close ()
  "Tell the server that this buffer is gone."
  (when (and qwend--version (qwend--running-p))
    (jsonrpc-notify qwend--server :textDocument/didClose `(:textDocument ,(qwend--document))))
  (setq qwend--version nil))

;;;; Proposals

(defun qwend-hide ()
  "Take away what is proposed."
  (interactive)
  (when qwend--ghost
    (delete-overlay qwend--ghost)
    (setq qwend--ghost nil)))

(defun qwend--show (text)
  "Propose TEXT at point."
  (let ((shown (propertize text 'face 'qwend-ghost)))
    (put-text-property 0 1 'cursor t shown)
    (setq qwend--ghost (make-overlay (point) (point)))
    (overlay-put qwend--ghost 'qwend-text text)
    (overlay-put qwend--ghost 'after-string shown)
    (overlay-put qwend--ghost 'keymap qwend-ghost-map)))

(defun qwend-propose (&optional typed)
  "Ask what could stand at point; if TYPED, because of a key: briefly."
  (interactive)
  (qwend-hide)
  (qwend-start)
  (when (qwend--open)
    (let ((buffer (current-buffer)) (at (point)) (tick (buffer-chars-modified-tick)))
      (jsonrpc-async-request
       qwend--server :textDocument/inlineCompletion
       `(:textDocument (:uri ,(qwend--uri)) :position ,(qwend--position at)
         :context (:triggerKind ,(if typed 2 1)))
       :success-fn
       (lambda (result)
         (when (buffer-live-p buffer)
           (with-current-buffer buffer
             (let ((items (plist-get result :items)))
               (when (and (= at (point)) (= tick (buffer-chars-modified-tick)) (> (length items) 0))
                 (qwend-hide)
                 (qwend--show (plist-get (aref items 0) :insertText)))))))
       :error-fn #'ignore :timeout-fn #'ignore))))

(defun qwend-accept ()
  "Take what is proposed."
  (interactive)
  (when qwend--ghost
    (let ((text (overlay-get qwend--ghost 'qwend-text)))
      (qwend-hide)
      (insert text))))

(defun qwend--post-command ()
  "Propose after a key that wrote something; hide what is elsewhere."
  (cond
   ((and qwend-completion (memq this-command '(self-insert-command newline delete-backward-char
                                               electric-newline-and-maybe-indent backward-delete-char-untabify)))
    (qwend-propose t))
   ((and qwend--ghost (/= (point) (overlay-start qwend--ghost)))
    (qwend-hide))))

(defvar qwend-mode-map
  (let ((map (make-sparse-keymap)))
    ;; TAB is only ours while something is proposed
    (define-key map (kbd "TAB") '(menu-item "" qwend-accept :filter (lambda (cmd) (and qwend--ghost cmd))))
    map)
  "Keys of `qwend-mode'.")

;;;###autoload
(define-minor-mode qwend-mode
  "Text is proposed at the cursor while one types; TAB takes it."
  :lighter " qwend"
  (if qwend-mode
      (progn
        (qwend-start)
        (add-hook 'before-change-functions #'qwend--before-change nil t)
        (add-hook 'after-change-functions #'qwend--after-change nil t)
        (add-hook 'after-save-hook #'qwend--after-save nil t)
        (add-hook 'kill-buffer-hook #'qwend--close nil t)
        (add-hook 'post-command-hook #'qwend--post-command nil t))
    (qwend-hide)
    (qwend--close)
    (remove-hook 'before-change-functions #'qwend--before-change t)
    (remove-hook 'after-change-functions #'qwend--after-change t)
    (remove-hook 'after-save-hook #'qwend--after-save t)
    (remove-hook 'kill-buffer-hook #'qwend--close t)
    (remove-hook 'post-command-hook #'qwend--post-command t)))

;;;; Edits and chats

(defun qwend--buffer-of (uri)
  "The buffer that the server knows as URI."
  (seq-find (lambda (buffer)
              (with-current-buffer buffer (and qwend--version (equal (qwend--uri) uri))))
            (buffer-list)))

(defun qwend--apply (edit)
  "Make EDIT, but only to the versions that it is for; nil: it is for others."
  (seq-every-p
   (lambda (change)
     (let* ((document (plist-get change :textDocument))
            (buffer (qwend--buffer-of (plist-get document :uri))))
       (when (and buffer (eql (plist-get document :version) (buffer-local-value 'qwend--version buffer)))
         (with-current-buffer buffer
           (save-excursion
             (atomic-change-group
               (seq-doseq (one (plist-get change :edits))
                 (let* ((range (plist-get one :range))
                        (begin (qwend--point-of (plist-get range :start)))
                        (end (qwend--point-of (plist-get range :end))))
                   (delete-region begin end)
                   (goto-char begin)
                   (insert (plist-get one :newText)))))))
         t)))
   (plist-get edit :documentChanges)))

(defun qwend--append (buffer text)
  "Put TEXT at the end of BUFFER."
  (when (buffer-live-p buffer)
    (with-current-buffer buffer
      (save-excursion
        (goto-char (point-max))
        (insert text)))))

(defun qwend--do (verb begin end &optional instruction)
  "Have VERB done with what is between BEGIN and END, as INSTRUCTION says."
  (unless qwend-mode (qwend-mode 1))
  (unless (qwend--open) (user-error "The language server does not run yet"))
  (let ((into (and (equal verb "explain") (get-buffer-create "*qwend explanation*"))))
    (when into
      (with-current-buffer into (erase-buffer))
      (display-buffer into))
    (jsonrpc-async-request
     qwend--server :workspace/executeCommand
     `(:command ,(concat "qwend." verb)
       :arguments [(:uri ,(qwend--uri) :range (:start ,(qwend--position begin) :end ,(qwend--position end))
                    ,@(and instruction (list :instruction instruction)))]
       ,@(and into (list :partialResultToken (qwend--stream (lambda (text) (qwend--append into text))))))
     :success-fn #'ignore :timeout nil
     :error-fn (lambda (err) (qwend--say "%s" (plist-get err :message))))))

;;;###autoload
(defun qwend-fix (begin end)
  "Correct what is between BEGIN and END."
  (interactive "r")
  (qwend--do "fix" begin end))

;;;###autoload
(defun qwend-explain (begin end)
  "Explain what is between BEGIN and END."
  (interactive "r")
  (qwend--do "explain" begin end))

;;;###autoload
(defun qwend-document (begin end)
  "Comment what is between BEGIN and END."
  (interactive "r")
  (qwend--do "document" begin end))

;;;###autoload
(defun qwend-test (begin end)
  "Write a test for what is between BEGIN and END, behind it."
  (interactive "r")
  (qwend--do "test" begin end))

;;;###autoload
(defun qwend-rewrite (begin end instruction)
  "Rewrite what is between BEGIN and END as INSTRUCTION says."
  (interactive "r\nsHow? ")
  (qwend--do "rewrite" begin end instruction))

(defun qwend--messages ()
  "What was said in this chat: it stands under its headings."
  (let (messages)
    (save-excursion
      (goto-char (point-min))
      (while (re-search-forward "^# \\(You\\|Qwen\\)$" nil t)
        (let* ((role (if (equal (match-string 1) "You") "user" "assistant"))
               (begin (point))
               (end (save-excursion (if (re-search-forward "^# \\(You\\|Qwen\\)$" nil t) (match-beginning 0) (point-max))))
               (content (string-trim (buffer-substring-no-properties begin end))))
          (unless (string-empty-p content)
            (push (list :role role :content content) messages)))))
    (nreverse messages)))

(defun qwend-chat-send ()
  "Send what stands under the last \"# You\"."
  (interactive)
  (let ((messages (qwend--messages)) (buffer (current-buffer)))
    (unless (qwend--running-p) (user-error "The language server does not run yet"))
    (when (equal (plist-get (car (last messages)) :role) "user")
      (qwend--append buffer "\n\n# Qwen\n")
      (jsonrpc-async-request
       qwend--server :qwend/chat
       `(:messages ,(vconcat messages)
         :partialResultToken ,(qwend--stream (lambda (text) (qwend--append buffer text))))
       :timeout nil
       :success-fn (lambda (_) (qwend--append buffer "\n\n# You\n"))
       :error-fn (lambda (err) (qwend--append buffer (format "(%s)\n\n# You\n" (plist-get err :message))))))))

;;;###autoload
(defun qwend-chat (text)
  "Send TEXT to a chat; in its buffer \\`C-c C-c' sends more."
  (interactive "sSay: ")
  (qwend-start)
  (with-current-buffer (get-buffer-create "*qwend chat*")
    (local-set-key (kbd "C-c C-c") #'qwend-chat-send)
    (when (= (buffer-size) 0) (insert "# You\n"))
    (qwend--append (current-buffer) text)
    (display-buffer (current-buffer))
    (qwend-chat-send)))

(provide 'qwend)
;;; qwend.el ends here
