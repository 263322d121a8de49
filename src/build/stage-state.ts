import type { Platform } from '#engine/images/image-documents.ts';
import type { ImageConfig } from '#engine/images/image-settings.ts';
import type { ImageHistoryEntry, ImageLineage } from '#model/image.ts';
import { cacheKey } from './build-cache.ts';

/** What a stage has come to: layers, configuration, history. Each instruction makes the next one of it. */
export interface StageState {
  diffIds: readonly string[];
  config: ImageConfig;
  /** `created` is filled in where it is known: layers that were made. */
  history: readonly ImageHistoryEntry[];
  /** Values of ARGs that are in scope. */
  args: ReadonlyMap<string, string>;
  platform: Platform;
  author: string | undefined;
  /** What the stage stands on; undefined for scratch. */
  lineage: ImageLineage | undefined;
}

/** What the files of a state are, for keys. */
export function filesKey(state: StageState): string {
  return cacheKey('files', ...state.diffIds);
}

export function withLayer(
  state: StageState,
  o: { diffId: string | undefined; createdBy: string; created: string },
): StageState {
  return {
    ...state,
    diffIds: o.diffId === undefined ? state.diffIds : [...state.diffIds, o.diffId],
    history: [
      ...state.history,
      {
        created: o.created,
        created_by: o.createdBy,
        comment: 'drover.build',
        ...(o.diffId === undefined ? { empty_layer: true } : {}),
      },
    ],
  };
}

/** An instruction that changes the configuration alone. */
export function withConfig(state: StageState, config: ImageConfig, createdBy: string): StageState {
  return {
    ...state,
    config,
    history: [...state.history, { created_by: createdBy, comment: 'drover.build', empty_layer: true }],
  };
}
