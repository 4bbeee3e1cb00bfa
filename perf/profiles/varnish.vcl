vcl 4.1;

backend default {
    .host = "@origin_host@";
    .port = "@origin_port@";
}

sub vcl_recv {
    # Who knows that a path is never cacheable says so, here as in nginx-tuned.conf.
    if (req.url ~ "^/nocache/") {
        return (pass);
    }
    unset req.http.Cookie;
}

sub vcl_deliver {
    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    } else {
        set resp.http.X-Cache = "MISS";
    }
}
