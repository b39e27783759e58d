;;; test-qwend.el --- the face in a batch Emacs, with the real server and daemon (story_faces.py) -*- lexical-binding: t -*-

(require 'ert)
(setq qwend-program (getenv "QWENCTL")
      qwend-socket (getenv "QWEND_SOCKET")
      qwend-ignore '("*.private"))

(defun wait-for (condition)
  "Let processes speak until CONDITION gives something; that, or nil after 30 s."
  (with-timeout (30 nil)
    (let (got)
      (while (not (setq got (funcall condition)))
        (accept-process-output nil 0.05))
      got)))

(defun say (word)
  "Have the daemon killed or started: WORD."
  (should (equal (shell-command-to-string (concat (getenv "SAY") " " word)) "done\n")))

(defun missed ()
  "How often the user was told that there is no daemon; what ran when it went is told of too, each by itself."
  (seq-count (lambda (text) (string-match-p "no daemon on " text)) qwend--said))

(defun shown () (and qwend--ghost (overlay-get qwend--ghost 'qwend-text)))

(defun type (text)
  "Insert TEXT key by key, as the command loop does."
  (dolist (key (string-to-list text))
    (let ((last-command-event key) (this-command 'self-insert-command))
      (self-insert-command 1 key)
      (run-hooks 'post-command-hook))))

(defmacro with-file (name text &rest body)
  "Run BODY in a buffer of the file NAME with TEXT, point at its end, with `qwend-mode'."
  (declare (indent 2))
  `(let ((buffer (find-file-noselect (expand-file-name ,name))))
     (unwind-protect
         (save-window-excursion
           (switch-to-buffer buffer)
           (insert ,text)
           (qwend-mode 1)
           (should (wait-for #'qwend--running-p))
           ,@body)
       (with-current-buffer buffer (set-buffer-modified-p nil))
       (kill-buffer buffer))))

(ert-deftest qwend-1-a-completion-is-shown-and-taken ()
  (with-file "a.py" "def sort(n):\n    "
    (type "s")
    (should (wait-for #'shown))
    (let ((text (shown)))
      (type (substring text 0 1))
      (should (wait-for #'shown))
      (should (equal (shown) (substring text 1)))
      (qwend-accept)
      (should (string-suffix-p (concat "    s" text) (buffer-string)))
      (should-not (shown)))))

(ert-deftest qwend-2-a-newer-key-supersedes-and-moving-hides ()
  (with-file "b.py" "x = 1\nä"
    (type "yz")
    (should (wait-for #'shown))
    (should (= (overlay-start qwend--ghost) (point)))
    (goto-char (point-min))
    (run-hooks 'post-command-hook)
    (should-not (shown))))

(ert-deftest qwend-3-the-server-has-what-the-buffer-has ()
  (with-file "c.txt" "one\nzwei\n"
    (qwend--open)
    (goto-char 5)
    (delete-char 4)
    (insert "ä€😀")
    (upcase-region 1 4)
    (undo-boundary)
    (insert "What is 12 + 7?")
    ;; an edit comes back with the range that was asked about, so it is where it should be only if both agree
    (qwend-rewrite (- (point) 15) (point) "What is 12 + 7?")
    (let ((before (buffer-string)))
      (should (wait-for (lambda () (not (equal before (buffer-string)))))))
    (should (string-prefix-p "ONE\nä€😀" (buffer-string)))
    (should (string-suffix-p "\n" (buffer-string)))))

(ert-deftest qwend-4-an-edit-of-another-version-is-not-made ()
  (with-file "d.py" "x = 1\n"
    (qwend--open)
    (should-not (qwend--apply `(:documentChanges [(:textDocument (:uri ,(qwend--uri) :version 7) :edits [])])))))

(ert-deftest qwend-5-an-explanation-and-a-chat-stream ()
  (with-file "e.py" "x = 1\n"
    (qwend-explain (point-min) (point-max))
    (should (wait-for (lambda () (with-current-buffer "*qwend explanation*" (> (buffer-size) 0)))))
    (qwend-chat "What is 12 + 7?")
    (with-current-buffer "*qwend chat*"
      (should (wait-for (lambda () (string-suffix-p "# You\n" (buffer-string)))))
      (should (string-match-p "^29$" (buffer-string))))))

(ert-deftest qwend-6-secrets-are-left-alone ()
  (with-file "f.private" "x = "
    (qwend-explain (point-min) (point-max))
    (should (wait-for (lambda () (string-match-p "secrets" (or (car qwend--said) "")))))))

(ert-deftest qwend-7-the-daemon-goes-and-comes-back ()
  (with-file "g.py" "x"
    (say "kill")
    (setq qwend--said nil)
    (type "y")
    (should (wait-for (lambda () (> (missed) 0))))
    (should-not (shown))
    (say "start")
    (should (wait-for (lambda ()
                        (type "z")
                        (with-timeout (1 nil) ; another key would take its turn
                          (while (not (shown)) (accept-process-output nil 0.01))
                          t))))
    (should (= (missed) 1))))

(ert-deftest qwend-8-it-stops-and-starts ()
  (with-file "h.py" "x"
    (qwend-stop)
    (should (wait-for (lambda () (not (jsonrpc-running-p qwend--server)))))
    (type "y")
    (should (wait-for #'qwend--running-p))
    (type "z")
    (should (wait-for #'shown))))

;;; test-qwend.el ends here
