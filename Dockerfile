# syntax=docker/dockerfile:1
# The router's image: compiled JavaScript and its few runtime packages on Node 24. Runs as an unprivileged user, writes
# nowhere (a read-only root is fine), listens on port 8000 unless told otherwise.

FROM node:24-slim AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
# with the optional packages: the compiler is one of them
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
COPY scripts/build-console.ts scripts/require-node-24.mjs ./scripts/
RUN npm run build

FROM node:24-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# KV events and tokenizers are optional packages and stay. So are those that carry a Node, which the image has, and these
# go, as does what zeromq has for other systems.
RUN npm ci --omit=dev --ignore-scripts \
 && rm -rf node_modules/node-linux-* node_modules/.bin/node node_modules/zeromq/build/darwin node_modules/zeromq/build/win32

FROM node:24-slim
LABEL org.opencontainers.image.title="lmstack" \
      org.opencontainers.image.description="Router in front of vLLM engines" \
      org.opencontainers.image.licenses="MIT"
ENV NODE_ENV=production
WORKDIR /app
COPY package.json LICENSE ./
COPY --from=packages /app/node_modules ./node_modules
COPY --from=build /src/dist ./dist
# by number, so that Kubernetes can tell that it is not root
USER 65532:65532
EXPOSE 8000
# exec form: the router itself gets SIGTERM and drains
ENTRYPOINT ["node", "/app/dist/cli.js"]
CMD ["router", "--help"]
