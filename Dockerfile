# The proxy alone: compiled in one stage, with only what it needs at run time in the other.
#
#   docker build -t scheelite .
#   docker run -p 6432:6432 -v ./proxy.config.json:/etc/scheelite/proxy.config.json:ro scheelite
#
# In a container a listener needs "host": "0.0.0.0"; the admin server may stay on loopback, where the health check asks it.

FROM node:24-bookworm-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
# With the optional packages: the compiler's binary is one of them.
RUN npm ci --no-audit --no-fund
COPY . .
RUN npx tsc --sourceMap false
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

FROM node:24-bookworm-slim
# One arena: with one for each thread the C library keeps 10 to 20 MiB more of what a burst of logins has left.
ENV NODE_ENV=production MALLOC_ARENA_MAX=1
WORKDIR /opt/scheelite
COPY --from=build /build/package.json /build/LICENSE /build/proxy.config.schema.json ./
COPY --from=build /build/node_modules node_modules
COPY --from=build /build/dist dist
COPY --from=build /build/proxy.config.json /etc/scheelite/proxy.config.json
USER node
EXPOSE 6432 6446 9464
# SIGTERM lets clients finish for limits.drainMs: give the container more time to stop than that.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
  CMD ["node", "dist/src/main.js", "health", "--config", "/etc/scheelite/proxy.config.json"]
# V8 collects young garbage less often: it matters where hundreds of clients have statements under way.
ENTRYPOINT ["node", "--max-semi-space-size=32", "dist/src/main.js"]
CMD ["serve", "--config", "/etc/scheelite/proxy.config.json"]
