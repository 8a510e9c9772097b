/* daemon/reload.c - SIGHUP: certificates and log level are read again; the rest says that it needs a restart.
 */
#include <systemd/sd-daemon.h>

#include "daemon/daemon.h"

static void reload_tls(struct net_tls *tls, const char *what)
{
    RK_CLEANUP(rk_freep) char *error = NULL;

    if (!tls)
        return;
    if (net_tls_reload(tls, &error) == 0)
        RK_LOG(RK_LOG_NOTICE, "reload", RK_FIELDS(RK_F_U64("EXPIRES", net_tls_expiry_s(tls))),
               "%s: certificate read again; connections go on", what);
    else
        RK_LOG(RK_LOG_ERROR, "reload", NULL, "%s: the old certificate stays in use: %s", what,
               error ? error : "");
}

/* Each line of text becomes a log line. */
static void log_lines(enum rk_log_level level, const struct rk_buf *text)
{
    struct rk_slice left = rk_buf_slice(text);

    while (left.len > 0) {
        const uint8_t *end = memchr(left.data, '\n', left.len);
        size_t len = end ? (size_t)(end - left.data) : left.len;

        RK_LOG(level, "reload", NULL, "%.*s", (int)len, (const char *)left.data);
        len += end ? 1 : 0;
        left = rk_slice(left.data + len, left.len - len);
    }
}

static void reload_conf(struct daemon *daemon)
{
    struct rk_buf text = {0};
    struct conf loaded;

    if (conf_load(daemon->conf_path, &loaded, &text) != 0) {
        log_lines(RK_LOG_ERROR, &text);
        RK_LOG(RK_LOG_ERROR, "reload", NULL, "the configuration stays as it was");
    } else {
        rk_log_set_level(conf_log_level(&loaded));
        if (conf_changes_needing_restart(&daemon->conf, &loaded, &text) > 0)
            log_lines(RK_LOG_WARNING, &text);
        conf_deinit(&loaded);
    }
    rk_buf_deinit(&text);
}

void daemon_reload(struct daemon *daemon)
{
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
               (unsigned long long)rk_clock_now_us(&rk_clock_boottime));
    reload_conf(daemon);
    reload_tls(daemon->tls_client_port, "client port");
    reload_tls(daemon->tls_peer_server, "peer port");
    reload_tls(daemon->tls_peer_client, "outgoing peer connections");
    sd_notify(0, "READY=1");
}
