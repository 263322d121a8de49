import assert from 'node:assert/strict';
import { after, suite, test } from 'node:test';
import { eventually } from '../support/docker-host.ts';
import { SwarmCli } from './swarm-cli.ts';

const cli = await SwarmCli.start('bb', 'redis:alpine', 'postgres:16', 'wordpress:latest', 'traefik:v3');
after(() => cli[Symbol.asyncDispose]());

/** Stacks as people have them, of images that are all a busybox here. */
const STACKS: Record<string, string> = {
  vote: `
services:
  vote:
    image: bb
    init: true
    command: sh -c 'echo vote > /index.html; exec httpd -f -p 80 -h /'
    ports: ["5000:80"]
    networks: [frontend]
    depends_on: [redis]
    deploy:
      replicas: 2
      update_config: { parallelism: 2, order: start-first }
      restart_policy: { condition: on-failure, delay: 1s, max_attempts: 3 }
  redis:
    image: redis:alpine
    init: true
    command: sleep 1000
    networks: [frontend]
  worker:
    image: bb
    init: true
    command: sleep 1000
    networks: [frontend, backend]
    deploy:
      mode: replicated
      labels: [APP=VOTING]
      placement: { constraints: ["node.platform.os == linux"] }
networks:
  frontend:
  backend: { driver_opts: { a: b }, labels: { tier: back } }
`,
  edge: `
services:
  traefik:
    image: traefik:v3
    init: true
    command: ["sleep", "1000"]
    ports:
      - { target: 80, published: 8081, mode: host }
    volumes: ["/run:/var/run/host:ro"]
    deploy:
      mode: global
      placement: { constraints: [node.role == manager] }
  app:
    image: bb
    init: true
    command: sleep 1000
    deploy:
      labels:
        traefik.enable: "true"
        traefik.http.routers.app.rule: "Host(\`app.example.com\`)"
        traefik.http.services.app.loadbalancer.server.port: "80"
`,
  blog: `
services:
  db:
    image: postgres:16
    init: true
    command: sh -c 'test -e /var/lib/postgresql/data/made || date > /var/lib/postgresql/data/made; exec sleep 1000'
    environment: { POSTGRES_PASSWORD_FILE: /run/secrets/db_password }
    secrets: [db_password]
    volumes: ["db:/var/lib/postgresql/data"]
    stop_grace_period: 2s
    healthcheck: { test: ["CMD", "test", "-e", "/run/secrets/db_password"], interval: 1s, retries: 3 }
    deploy: { placement: { constraints: [node.role == manager] } }
  wordpress:
    image: wordpress:latest
    init: true
    command: sleep 1000
    environment: [WORDPRESS_DB_HOST=db]
    configs: [{ source: php_ini, target: /etc/php.ini, mode: 0444 }]
    secrets: [{ source: db_password, target: pw, uid: "33", gid: "33", mode: 0400 }]
    ports: ["8082:80"]
    deploy:
      replicas: 2
      resources: { limits: { cpus: "0.50", memory: 64M }, reservations: { memory: 8M } }
secrets: { db_password: { file: ./password } }
configs: { php_ini: { file: ./php.ini } }
volumes: { db: }
`,
};

suite('docker stack', () => {
  for (const [name, compose] of Object.entries(STACKS)) {
    test(`${name} is deployed, shown, deployed again, and removed`, async () => {
      cli.file('password', 'hush');
      cli.file('php.ini', 'memory_limit = 64M\n');
      const path = cli.file(`${name}.yaml`, compose);
      await cli.ok('stack', 'deploy', '--detach=true', '-c', path, name);
      const services = (await cli.ok('stack', 'services', name, '--format', '{{.Name}}')).split('\n');
      assert.equal(
        await cli
          .ok('stack', 'ls', '--format', '{{.Name}} {{.Services}}')
          .then((all) => all.includes(`${name} ${services.length}`)),
        true,
      );
      const isUp = async (): Promise<boolean> =>
        (await cli.ok('stack', 'services', name, '--format', '{{.Replicas}}'))
          .split('\n')
          .every((line) => /^(\d+)\/\1$/.test(line));
      await eventually(isUp, `${name} is up`, 40_000);
      const versions = async (): Promise<string> =>
        await cli.ok('service', 'inspect', ...services, '--format', '{{json .Spec.TaskTemplate}}');
      const [before, tasks] = [await versions(), await cli.ok('stack', 'ps', '-q', name)];
      await cli.ok('stack', 'deploy', '--detach=true', '-c', path, name);
      assert.equal(await versions(), before);
      assert.equal(await cli.ok('stack', 'ps', '-q', name), tasks, 'nothing is replaced');
      if (name === 'vote') {
        assert.equal(await cli.inTask('vote_worker', 'wget -qO- http://vote/'), 'vote');
        assert.match(await cli.ok('network', 'inspect', 'vote_backend'), /"tier": "back"/);
      }
      if (name === 'edge')
        assert.match(
          await cli.ok('service', 'inspect', 'edge_app', '--format', '{{json .Spec.Labels}}'),
          /Host\(`app\.example\.com`\)/,
        );
      if (name === 'blog') {
        assert.equal(await cli.inTask('blog_db', 'cat /run/secrets/db_password'), 'hush');
        assert.match(
          await cli.inTask('blog_wordpress', 'ls -ln /run/secrets/pw; cat /etc/php.ini'),
          /^-r--------\s+1 33\s+33 [\s\S]*64M$/,
        );
      }
      assert.match(await cli.ok('stack', 'rm', '--detach=false', name), /Removing service/);
      const left = await cli.ok(
        'network',
        'ls',
        '--filter',
        `label=com.docker.stack.namespace=${name}`,
        '-q',
      );
      assert.equal(left, '');
    });
  }
});
