import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');

export const DROVER: string = join(ROOT, 'bin', 'drover');
export const COMPOSE_FLAGS: readonly string[] = ['-f', join(ROOT, 'examples', 'hello', 'compose.yaml')];

const IMAGES = {
  'hello-web': ['CMD ["httpd","-f","-p","80","-h","/srv"]', 'EXPOSE 80', 'WORKDIR /srv'],
  'hello-store': [
    'CMD ["httpd","-f","-p","9000","-h","/srv"]',
    'EXPOSE 9000',
    'VOLUME /var/lib/store',
    'WORKDIR /srv',
  ],
};

/** The commands of `drover` that make the example's images, each with the name of what it makes. */
export function importCommands(): { image: string; argv: string[] }[] {
  return Object.entries(IMAGES).map(([image, changes]) => ({
    image,
    argv: [
      'import',
      ...changes.flatMap((change) => ['-c', change]),
      join(ROOT, '.cache', `${image}.tar`),
      image,
    ],
  }));
}
