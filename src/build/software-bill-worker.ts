import { parentPort, workerData } from 'node:worker_threads';
import { type BillTask, spdxDocument } from './software-bill.ts';

const task: BillTask = workerData;
parentPort?.postMessage(spdxDocument(task));
