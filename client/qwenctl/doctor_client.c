/* doctor_client.c - what of the user's own can be wrong: configuration, state, files that others can read, a
 * socket that nobody listens at.  See doctor.h. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "conf.h"
#include "doctor.h"
#include "file.h"

enum { CLIENT_TEXT = 4000 };

static void client_look_at_config(struct doctor *doctor)
{
    struct fault fault = {};
    struct conf conf = {};
    int r = conf_load_all(&conf, &fault);

    doctor_say(doctor,
               &(struct doctor_check){"client.config", r ? DOCTOR_FAIL : DOCTOR_OK,
                                      "mend that line, or qwenctl config set"},
               "%s", r ? *fault.text ? fault.text : strerror(-r) : "no mistakes in the configuration");
    conf_deinit(&conf);
}

/* A file of the user's own, which is to have this mode. */
static void client_add_chmod(struct doctor_fixes *fixes, char *path, size_t n_trusted, mode_t mode)
{
    doctor_fix_add(fixes, &(struct doctor_fix){DOCTOR_CHMOD, path, n_trusted, mode});
}

/* How much of file_home(…, name) the user's environment says: all but what we make ourselves. */
static size_t client_n_trusted(const char *path, const char *name)
{
    return strlen(path) - strlen(name) - strlen("/qwend/");
}

/* state */

/* The folder for what is kept is made when there is something; what can be wrong is that it cannot be. */
static void client_find_state(const struct doctor *doctor _unused_, struct doctor_fixes *fixes)
{
    static const char *const names[] = {"", "sessions"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_(freep) char *path = file_home("XDG_STATE_HOME", ".local/state", names[i]);
        const size_t n_trusted = path ? client_n_trusted(path, names[i]) : 0;
        _cleanup_(closep) int fd = path ? doctor_open_own(path, n_trusted) : -1;
        struct stat st;

        if (fd >= 0 && !fstat(fd, &st) && S_ISDIR(st.st_mode) && (st.st_mode & 0700) != 0700)
            client_add_chmod(fixes, path, n_trusted, 0700);
    }
}

/* The last folder of a path that is there, cut out of it in place. */
static void client_cut_to_folder(char *path)
{
    struct stat st;

    while (stat(path, &st) < 0 && errno == ENOENT) {
        char *slash = strrchr(path, '/');

        slash[slash == path] = '\0';
    }
}

static void client_look_at_state(struct doctor *doctor)
{
    _cleanup_(freep) char *path = file_home("XDG_STATE_HOME", ".local/state", "sessions");
    struct doctor_fixes fixes = {};
    char remedy[CLIENT_TEXT];

    if (!path) {
        doctor_say(doctor,
                   &(struct doctor_check){"client.state", DOCTOR_WARN, "set $HOME or $XDG_STATE_HOME"},
                   "there is no home: no sessions, no history");
        return;
    }
    doctor_mend(doctor, client_find_state, &fixes);
    client_cut_to_folder(path);
    if (fixes.n)
        doctor_say(doctor,
                   &(struct doctor_check){"client.state", DOCTOR_WARN,
                                          doctor_fix_remedy(&fixes, remedy, sizeof(remedy))},
                   "%s: its mode keeps its owner out", fixes.items[0].path);
    else if (access(path, W_OK | X_OK) < 0)
        doctor_say(doctor,
                   &(struct doctor_check){"client.state", DOCTOR_WARN,
                                          "make the folder writable, or set $XDG_STATE_HOME"},
                   "%s: %s", path, strerror(errno));
    else
        doctor_say(doctor, &(struct doctor_check){"client.state", DOCTOR_OK},
                   "sessions and history can be kept");
    doctor_fixes_deinit(&fixes);
}

/* files */

/* Only what is this user's, and not by a link. */
static void client_find_mode(struct doctor_fixes *fixes, char *path, size_t n_trusted, mode_t forbidden)
{
    _cleanup_(closep) int fd = doctor_open_own(path, n_trusted);
    struct stat st;

    if (fd >= 0 && !fstat(fd, &st) && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) && st.st_mode & forbidden)
        client_add_chmod(fixes, path, n_trusted, st.st_mode & 0777 & ~forbidden);
}

static DIR *client_open_folder(const char *path, size_t n_trusted)
{
    _cleanup_(closep) int place = doctor_open_own(path, n_trusted);
    _cleanup_(closep) int fd = place >= 0 ? openat(place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;

    if (folder)
        fd = -1;
    return folder;
}

/* And the folder itself. */
static void client_find_modes_in(struct doctor_fixes *fixes, char *path, size_t n_trusted)
{
    DIR *folder = client_open_folder(path, n_trusted);
    struct dirent *entry;

    client_find_mode(fixes, path, n_trusted, 077);
    while (folder && (entry = readdir(folder))) {
        _cleanup_(freep) char *inner = NULL;

        if (*entry->d_name == '.')
            continue;
        if (asprintf(&inner, "%s/%s", path, entry->d_name) < 0)
            inner = NULL;
        else
            client_find_mode(fixes, inner, n_trusted, 077);
    }
    if (folder)
        closedir(folder);
}

/* Who may read what was said is the user alone; who may write what is done, too. */
static void client_find_files(const struct doctor *doctor _unused_, struct doctor_fixes *fixes)
{
    _cleanup_(freep) char *sessions = file_home("XDG_STATE_HOME", ".local/state", "sessions");
    _cleanup_(freep) char *history = file_home("XDG_STATE_HOME", ".local/state", "chat_history");
    _cleanup_(freep) char *conf = file_home("XDG_CONFIG_HOME", ".config", "qwenctl.conf");

    if (history)
        client_find_mode(fixes, history, client_n_trusted(history, "chat_history"), 077);
    if (conf)
        client_find_mode(fixes, conf, client_n_trusted(conf, "qwenctl.conf"), 022);
    if (sessions)
        client_find_modes_in(fixes, sessions, client_n_trusted(sessions, "sessions"));
}

static void client_look_at_files(struct doctor *doctor)
{
    struct doctor_fixes fixes = {};
    char remedy[CLIENT_TEXT];

    doctor_mend(doctor, client_find_files, &fixes);
    if (fixes.n)
        doctor_say(doctor,
                   &(struct doctor_check){"client.files", DOCTOR_WARN,
                                          doctor_fix_remedy(&fixes, remedy, sizeof(remedy))},
                   "others may read or change %zu of this user's files", fixes.n + fixes.n_more);
    else
        doctor_say(doctor, &(struct doctor_check){"client.files", DOCTOR_OK},
                   "nobody else can read sessions and history");
    doctor_fixes_deinit(&fixes);
}

/* the socket of a daemon of one's own */

/* Bound by somebody who is gone: this user's, and nobody listens. */
static bool client_is_stale(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    _cleanup_(closep) int fd = -1;
    struct stat st;

    if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode) || st.st_uid != geteuid() ||
        strlen(path) >= sizeof(addr.sun_path))
        return false;
    strcpy(addr.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 && errno == ECONNREFUSED;
}

/* sudo may leave another user's $XDG_RUNTIME_DIR: what is made there would be in that user's way. */
static bool client_is_own_folder(const char *path)
{
    struct stat st;

    return !stat(path, &st) && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

static void client_find_socket(const struct doctor *doctor, struct doctor_fixes *fixes)
{
    const char *runtime_dir = getenv("XDG_RUNTIME_DIR"), *socket = getenv("QWEND_SOCKET");
    _cleanup_(freep) char *folder = NULL, *own = NULL;

    if (doctor->args->values->socket)
        socket = doctor->args->values->socket;
    if (socket && *socket) {
        if (client_is_stale(socket))
            doctor_fix_add(fixes, &(struct doctor_fix){DOCTOR_UNLINK, (char *)socket});
        return;
    }
    if (!runtime_dir || *runtime_dir != '/' || asprintf(&folder, "%s/qwend", runtime_dir) < 0)
        return;
    if (asprintf(&own, "%s/qwend.sock", folder) < 0) {
        own = NULL;
        return;
    }
    if (client_is_stale(own))
        doctor_fix_add(fixes, &(struct doctor_fix){DOCTOR_UNLINK, own});
    else if (doctor->connected && client_is_own_folder(runtime_dir) && access(folder, F_OK) < 0 &&
             errno == ENOENT) /* there is none: one may want it */
        doctor_fix_add(fixes, &(struct doctor_fix){DOCTOR_MKDIR, folder});
}

static void client_look_at_socket(struct doctor *doctor)
{
    struct doctor_fixes fixes = {};
    char remedy[CLIENT_TEXT];

    doctor_mend(doctor, client_find_socket, &fixes);
    if (fixes.n)
        doctor_say(doctor,
                   &(struct doctor_check){"client.socket", DOCTOR_WARN,
                                          doctor_fix_remedy(&fixes, remedy, sizeof(remedy))},
                   fixes.items[0].kind == DOCTOR_UNLINK
                       ? "%s is left from a daemon that is gone"
                       : "%s is not there, where a daemon of one's own would listen",
                   fixes.items[0].path);
    else
        doctor_say(doctor, &(struct doctor_check){"client.socket", DOCTOR_OK},
                   "nothing is left of old daemons");
    doctor_fixes_deinit(&fixes);
}

void doctor_look_at_client(struct doctor *doctor)
{
    client_look_at_config(doctor);
    client_look_at_state(doctor);
    client_look_at_files(doctor);
    client_look_at_socket(doctor);
}
